//! What a configuration may say, and what its mistakes are called.

use super::*;

fn check(text: &str, expected: &[&str]) {
    check_with(text, &[], expected);
}

fn check_with(text: &str, environment: &[(&str, &str)], expected: &[&str]) {
    let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let problems = match parse("test", text, &environment) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.list.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.contains(expected), "{problem}\ndoes not contain\n{expected}");
    }
}

/// The file with every default switched on; with `examples`, the illustrations too.
fn uncommented(examples: bool) -> String {
    let is_setting = |line: &str| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
    let mut text = String::new();
    for line in DEFAULTS.lines() {
        let line = match (line.strip_prefix("# "), line.strip_prefix("#:")) {
            (Some(setting), _) if is_setting(setting) => setting,
            (_, Some(example)) if examples => example.trim(),
            _ => line,
        };
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[test]
fn the_printed_defaults_are_the_defaults() {
    let none = BTreeMap::new();
    let empty = parse("empty", "", &none).unwrap();
    let printed = parse("printed", &uncommented(false), &none).unwrap();
    assert_eq!(format!("{empty:?}"), format!("{printed:?}"));
    // The commented file itself is a valid file, too: `larder config > larder.toml` can be started from.
    assert!(parse("commented", DEFAULTS, &none).is_ok());
}

/// The keys of each table that the printed file has, asked from the parser: a key that does not exist is answered with those
/// that do.
fn keys_by_table(printed: &str) -> BTreeMap<String, Vec<String>> {
    const NO_KEY: &str = "qqqqqqqqqq = 0\n";
    let mut text = NO_KEY.to_owned();
    for line in printed.lines() {
        text.extend([line, "\n"]);
        if line.starts_with('[') {
            text.push_str(NO_KEY);
        }
    }
    let problems = parse("test", &text, &BTreeMap::new()).unwrap_err().list;
    let keys_of = |problem: &Problem| {
        let (_, keys) = problem.message.split_once("the keys here are ").expect("no key is like this one");
        keys.split(", ").map(ToOwned::to_owned).collect()
    };
    let table_of = |problem: &Problem| {
        let names: String = problem.path.chars().filter(|c| c.is_alphabetic() || "._".contains(*c)).collect();
        names.rsplit_once('.').map_or(String::new(), |(table, _)| table.to_owned())
    };
    problems.iter().map(|problem| (table_of(problem), keys_of(problem))).collect()
}

/// The printed file with all examples, and what could stand instead of some of them: not a file that is valid as a whole.
fn with_alternatives() -> String {
    uncommented(true).replace("\n#| ", "\n")
}

/// Each key that the printed file has, with its table.
fn printed_keys(printed: &str) -> Vec<(String, String)> {
    let mut table = String::new();
    let mut keys = Vec::new();
    for line in printed.lines().map(|line| line.split(" #").next().unwrap_or_default().trim()) {
        if line.starts_with('[') {
            table = line.trim_matches(['[', ']']).to_owned();
            // A table is a key of the one above it.
            let (above, name) = table.rsplit_once('.').unwrap_or(("", &table));
            keys.push((above.to_owned(), name.to_owned()));
        } else if let Some((key, _)) = line.split_once(" = ")
            && !line.starts_with('#')
        {
            keys.push((table.clone(), key.to_owned()));
        }
    }
    keys
}

#[test]
fn every_key_is_printed() {
    let text = uncommented(true);
    let (tables, printed) = (keys_by_table(&text), printed_keys(&with_alternatives()));
    assert!(tables.len() > 15, "{tables:?}");
    for (table, keys) in &tables {
        // A collection may have any key of [cache], which is printed there.
        let elsewhere = if table == "collection" { &tables["cache"][..] } else { &[] };
        for key in keys.iter().filter(|key| !elsewhere.contains(key)) {
            assert!(printed.contains(&(table.clone(), key.clone())), "[{table}] {key}");
        }
    }
}

#[test]
fn what_is_printed_without_a_default_has_none() {
    let empty = format!("{:?}", parse("empty", "audit.enabled = true", &BTreeMap::new()).unwrap());
    let (all, set) = (printed_keys(&with_alternatives()), printed_keys(&uncommented(false)));
    let lists = ["collection", "role", "key"];
    let is_in_list = |table: &str| lists.iter().any(|list| is_within(table, list));
    let unset = all.iter().filter(|key| !set.contains(key)).filter(|(table, _)| !is_in_list(table));
    let unset: Vec<&str> = unset.map(|(_, key)| key.as_str()).filter(|key| !lists.contains(key)).collect();
    assert!(unset.contains(&"cursor_secret"), "{unset:?}");
    for key in unset {
        assert!(empty.contains(&format!("{key}: None")), "{key} has a default: {empty}");
    }
}

#[test]
fn the_printed_examples_are_valid() {
    let config = parse("examples", &uncommented(true), &BTreeMap::new()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(config.collections[0].schema.pipelines()[0].name(), "cheapest");
    assert_eq!(config.auth.keys[0].role, "shop");
}

#[test]
fn a_typing_error_is_answered_with_the_nearest_key_and_its_line() {
    check(
        "[redis]\nurll = \"redis://localhost\"\n",
        &["line 2: redis.urll: unknown key; did you mean \"url\"?"],
    );
    check("lisen = \"127.0.0.1:1\"", &["line 1: lisen: unknown key; did you mean \"listen\"?"]);
    check("[watch]\nlese = \"5s\"", &["line 2: watch.lese: unknown key; did you mean \"lease\"?"]);
    check("[watch]\nlease = \"5ms\"", &["watch.lease: must be 100ms or longer"]);
    check("[audit]\nevery = \"9ms\"", &["audit.every: must be 10ms or longer"]);
    check(
        "[cors]\norigins = [\"shop.example\"]",
        &["cors.origins: \"shop.example\" is not as browsers send it"],
    );
    check("[cors]\norigins = [\"*\"]\n[auth]\nopen = true", &["cors.origins: \"*\" would let every page"]);
    check(
        "[[collection]]\nname = \"a\"\nid = \"int\"\n[[collection.query]]\nname = \"b\"\npipline = \"[]\"",
        &["query[0].pipeline: is missing", "query[0].pipline: unknown key; did you mean \"pipeline\"?"],
    );
    check("threads = 0", &["line 1: threads: must be between 1 and 1024"]);
    check("[alarms]\nhit_rate_warn = 90", &["alarms.hit_rate_warn: must be between 0 and 1"]);
    check("[alarms]\nhit_rate_alarm = 0.95", &["alarms.hit_rate_alarm: must be at most hit_rate_warn"]);
    check(
        "[[collection]]\nname = \"a\"\nid = \"int\"\npoll_updated_at = \"b\"",
        &["collection[0].poll_updated_at: \"b\" must be declared as a field with type = \"date\""],
    );
    check(
        "[[collection]]\nname = \"a\"\nid = \"int\"\nrequire_if_match = \"always\"",
        &["line 4: collection[0].require_if_match: "],
    );
    check(
        "[[collection]]\nname = \"a\"\nid = \"int\"\nrequire_index = 1",
        &["line 4: collection[0].require_index: "],
    );
    check("[cache]\nlists_ttl = \"soon\"", &["line 2: cache.lists_ttl: "]);
    check(
        "[cache]\nlists_ttl = \"31d\"",
        &["line 2: cache.lists_ttl: with its stale windows must be at most 30 days"],
    );
    check("[redsi]\n", &["line 1: redsi: unknown key; did you mean \"redis\"?"]);
    check(
        "[[collection]]\nname = \"a\"\nid = \"int\"\ntll = \"1s\"",
        &["line 4: collection[0].tll: unknown key; did you mean \"ttl\"?"],
    );
}

#[test]
fn all_problems_are_reported_at_once() {
    let text = "
listen = \"here\"
[cache]
ttl = 60
jitter = 2.0
[limits]
max_in_flight = \"many\"
page_max = 0
[[collection]]
id = \"uuid\"
";
    check(
        text,
        &[
            "line 2: listen: must be an address and a port",
            "line 4: cache.ttl: must be text in quotes, not integer",
            "line 5: cache.jitter: must be between 0 and 0.5",
            "line 7: limits.max_in_flight: must be a whole number, not string",
            "line 8: limits.page_max: must be between 1 and 10000",
            "line 9: collection[0].name: is missing",
            "line 10: collection[0].id: \"uuid\" is not known; it must be one of",
        ],
    );
}

#[test]
fn a_file_that_is_not_toml_is_answered_with_the_line() {
    check("[redis]\nurl = \n", &["line 2: "]);
}

#[test]
fn variables_override_the_file_and_unknown_ones_are_refused() {
    let file = "[redis]\ndeadline = \"1s\"";
    let environment = [("LARDER_REDIS__DEADLINE", "2s"), ("LARDER_LISTEN", "127.0.0.1:9")];
    let environment = environment.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let config = parse("test", file, &environment).unwrap();
    assert_eq!(config.redis.deadline, Duration::from_secs(2));
    assert_eq!(config.listen.port(), 9);
    check_with(
        "",
        &[("LARDER_REDIS__URLS", "x")],
        &["LARDER_REDIS__URLS: this variable is not known; did you mean LARDER_REDIS__URL?"],
    );
    check_with("", &[("LARDER_MONGO__DEADLINE", "soon")], &["LARDER_MONGO__DEADLINE: must be a duration"]);
}

#[test]
fn an_open_server_listens_on_loopback_only() {
    check(
        "listen = \"0.0.0.0:7300\"\n[auth]\nopen = true",
        &["line 3: auth.open: everyone may do everything"],
    );
    check("listen = \"[::1]:7300\"\n[auth]\nopen = true", &[]);
}

#[test]
fn roles_and_queries_must_exist() {
    let text = "
[[role]]
name = \"reader\"
[[key]]
name = \"app\"
role = \"raeder\"
sha256 = \"5ca24005b740717ba4f3f6bc48a230700e68c2a4b11ecedb96f169f4efaf1f21\"
[[collection]]
name = \"products\"
id = \"int\"
[[collection.grant]]
role = \"writer\"
queries = [\"top\"]
";
    check(
        text,
        &[
            "key[0].role: \"raeder\" is not a declared role; did you mean \"reader\"?",
            "collection[0].grant[0].role: \"writer\" is not a declared role",
            "collection[0].grant[0].queries: \"top\" is not a declared query",
        ],
    );
}

#[test]
fn names_of_queries_and_variables_can_stand_in_an_address() {
    let declare = |query: &str, variables: &str| {
        format!(
            "[[collection]]\nname = \"a\"\nid = \"int\"\n[[collection.query]]\nname = \"{query}\"\npipeline = '[]'\nvar = [{variables}]"
        )
    };
    let variable = |name: &str| format!("{{ name = \"{name}\", type = \"int\", default = 1 }}");
    let long = "x".repeat(65);
    for name in ["by/stock", "", "_hidden", "a b", "a.b", "ä", "a%2Fb", &long] {
        let (query, inner) = ("collection[0].query[0].name", "collection[0].query[0].var[0].name");
        let problem = "must be 1 to 64 letters, digits, \"-\" and \"_\", and not begin with \"_\"";
        check(&declare(name, ""), &[&format!("line 5: {query}: {problem}")]);
        check(&declare("top", &variable(name)), &[&format!("line 7: {inner}: {problem}")]);
    }
    let twice = [variable("least"), variable("most"), variable("least")].join(", ");
    check(
        &declare("top", &twice),
        &["line 7: collection[0].query[0].var[2].name: \"least\" is declared twice"],
    );
    check(&declare("by-stock_2", &variable("least-1_of")), &[]);
}

#[test]
fn secrets_do_not_appear_in_debug_output() {
    let text = "cursor_secret = \"hunter2hunter2hunter2\"\n[mongo]\nurl = \"mongodb://u:hunter2@h/db\"";
    let config = parse("test", text, &BTreeMap::new()).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_certificate_without_its_key_is_refused() {
    check(
        "[redis]\nurl = \"rediss://h\"\ncertificate_file = \"a.pem\"\n",
        &["redis.key_file: certificate_file and key_file belong together"],
    );
}

#[test]
fn a_pipeline_with_an_unsafe_stage_is_refused() {
    let text = "
[[collection]]
name = \"a\"
id = \"int\"
[[collection.query]]
name = \"steal\"
pipeline = '[{\"$out\": \"elsewhere\"}]'
";
    check(text, &["collection[0].query[0].pipeline"]);
}

#[test]
fn field_lists_name_declared_fields_and_do_not_go_with_replace() {
    let text = "
[[role]]
name = \"clerk\"
[[collection]]
name = \"products\"
id = \"int\"
field = [{ path = \"maker.margin\", type = \"int\" }, { path = \"note\", type = \"object\" }]
[[collection.grant]]
role = \"clerk\"
verbs = [\"replace\"]
hide = [\"maker\", \"note.x\", \"maker.magrin\"]
[[collection.grant]]
role = \"clerk\"
";
    check(
        text,
        &[
            "collection[0].grant[0].hide: \"maker.magrin\" is not a declared field; did you mean \"maker.margin\"?",
            "collection[0].grant[0].verbs: \"replace\" needs a role",
            "collection[0].grant[1].role: \"clerk\" has a grant here already",
        ],
    );
}

#[test]
fn a_name_in_the_database_is_one_that_it_takes_and_belongs_to_one_collection() {
    let text = "
[[collection]]
name = \"a\"
stored_as = \"system.users\"
id = \"int\"
[[collection]]
name = \"b\"
stored_as = \"c\"
id = \"int\"
[[collection]]
name = \"c\"
id = \"int\"
";
    check(
        text,
        &[
            "line 4: collection[0].stored_as: a collection's name has",
            "collection[2].stored_as: another collection is stored as \"c\" already",
        ],
    );
}

#[test]
fn names_in_sqlite_differ_in_more_than_case() {
    let text = "
[[collection]]
name = \"Orders\"
id = \"int\"
[[collection]]
name = \"orders\"
id = \"int\"
";
    check(
        text,
        &["line 5: collection[1].stored_as: SQLite does not tell \"orders\" from \"Orders\", which another"],
    );
    check_with(text, &[("LARDER_MONGO__URL", "mongodb://localhost/shop")], &[]);
}

#[test]
fn a_tag_of_a_field_that_is_not_there_is_answered_with_its_line_and_the_nearest_one() {
    let collection = |settings: &str| {
        format!(
            "[[collection]]\nname = \"a\"\nid = \"int\"\n{settings}\n\
             field = [{{ path = \"category\", type = \"string\" }}, {{ path = \"price\", type = \"decimal\" }}]\n"
        )
    };
    for (tag, problem) in [
        ("c:{categroy}", "\"categroy\" is not a declared field; did you mean \"category\"?"),
        ("c:{price}", "price cannot be in a tag: only a string, int, bool or objectId"),
        ("c:{category", "the tag c:{category has a brace without its other half"),
        ("sale", "the tag sale names no field"),
    ] {
        let problem = format!("line 4: collection[0].tags: {problem}");
        check(&collection(&format!("tags = [\"id:{{_id}}\", \"{tag}\"]")), &[&problem]);
    }
}

#[test]
fn a_part_has_declared_fields_and_those_of_the_tags() {
    let part = |settings: &str, fields: &str| {
        format!(
            "[[collection]]\nname = \"a\"\nid = \"int\"\n{settings}\n\
             field = [{{ path = \"name\", type = \"string\" }}, {{ path = \"category\", type = \"string\" }}]\n\
             [[collection.partial]]\nname = \"card\"\nfields = {fields}\n"
        )
    };
    let typing =
        "line 8: collection[0].partial[0].fields: \"nmae\" is not a declared field; did you mean \"name\"?";
    check(&part("", "[\"nmae\", \"category\"]"), &[typing]);
    check(&part("strict = false", "[\"nmae\"]"), &[]);
    let missing = "line 8: collection[0].partial[0].fields: must have \"category\" too";
    check(&part("tags = [\"{category}\"]", "[\"name\"]"), &[missing]);
    check(&part("tags = [\"{category}\"]", "[\"name\", \"category\"]"), &[]);
}

#[test]
fn what_would_make_every_call_fail_is_refused_with_its_line() {
    check("[mongo]\ndeadline = \"0s\"", &["line 2: mongo.deadline: must be longer than zero"]);
    check("[redis]\n\ndeadline = \"0ms\"", &["line 3: redis.deadline: must be longer than zero"]);
    check("[limits]\nmax_answer_bytes = \"0B\"", &["line 2: limits.max_answer_bytes: must be at least 1B"]);
    check("[limits]\nidle_timeout = \"0s\"", &["line 2: limits.idle_timeout: must be longer than zero"]);
    check(
        "[limits]\n\nrequest_deadline = \"0s\"",
        &["line 3: limits.request_deadline: must be longer than zero"],
    );
}

/// A `[jwt]` of which nothing is wrong but these lines, which come after its key.
fn check_jwt(key: &str, rest: &str, expected: &[&str]) {
    let sound = ["algorithms = [\"RS256\"]", "issuer = \"i\"", "audience = [\"a\"]"];
    let is_elsewhere = |line: &&&str| !rest.contains(line.split(' ').next().unwrap_or_default());
    let sound: Vec<&str> = sound.iter().filter(is_elsewhere).copied().collect();
    check(&format!("[jwt]\n{key}\n{rest}\n{}", sound.join("\n")), expected);
}

#[test]
fn the_keys_of_tokens_come_from_one_place_that_nobody_else_can_change() {
    let long = "a-secret-of-thirty-two-bytes-or-more";
    for (key, rest) in [
        ("jwks_url = \"https://login.example/keys?a=b\"", "ca_file = \"ca.pem\""),
        ("jwks_url = \"http://127.0.0.1:8080/keys\"", ""),
        ("jwks_url = \"http://[::1]/\"", ""),
        ("jwks_file = \"keys.json\"", "algorithms = [\"RS256\", \"ES384\", \"EdDSA\"]"),
        ("public_key_file = \"key.pem\"", "algorithms = [\"RS256\", \"PS512\"]"),
        (&format!("secret = \"{long}\""), "algorithms = [\"HS512\"]"),
    ] {
        check_jwt(key, rest, &[]);
    }
    for url in ["http://login.example/keys", "ftp://127.0.0.1/", "/keys", "https://a:b@login.example/", "a b"]
    {
        check_jwt(&format!("jwks_url = \"{url}\""), "", &["line 2: jwt.jwks_url: "]);
    }
    let url = "jwks_url = \"https://login.example/keys\"";
    check_jwt(url, "jwks_file = \"keys.json\"", &["line 3: jwt.jwks_file: jwks_url is given already"]);
    check_jwt("jwks_file = \"keys.json\"", "ca_file = \"ca.pem\"", &["line 3: jwt.ca_file: means nothing"]);
    check_jwt("secret = \"short\"", "algorithms = [\"HS256\"]", &["jwt.secret: must be at least 32 bytes"]);
}

#[test]
fn only_algorithms_that_fit_the_key_are_accepted() {
    let (url, secret) = ("jwks_url = \"https://login.example/\"", format!("secret = \"{}\"", "x".repeat(32)));
    for (key, algorithms, expected) in [
        (url, "[]", "is missing"),
        (url, "[\"none\"]", "\"none\" is not known"),
        (url, "[\"RS257\"]", "did you mean \"RS256\"?"),
        (url, "[\"RS256\", \"HS256\"]", "\"HS256\" goes with secret only"),
        ("public_key_file = \"a\"", "[\"HS512\"]", "\"HS512\" goes with secret only"),
        ("public_key_file = \"a\"", "[\"RS256\", \"ES256\"]", "one public key is of one kind"),
        (&secret, "[\"HS256\", \"EdDSA\"]", "\"EdDSA\" goes with public keys only"),
    ] {
        let text = format!("[jwt]\n{key}\nissuer = \"i\"\naudience = [\"a\"]\nalgorithms = {algorithms}");
        let problems = parse("test", &text, &BTreeMap::new()).unwrap_err().list;
        let problem = problems.iter().find(|problem| problem.message.contains(expected));
        let place = problem.map(|problem| (problem.line, problem.path.as_str()));
        assert_eq!(place, Some((5, "jwt.algorithms")), "{algorithms}: {problems:?}");
    }
}

#[test]
fn a_token_must_be_of_somebody_for_this_server() {
    let url = "jwks_url = \"https://login.example/\"";
    for (rest, expected) in [
        ("issuer = \"\"", "line 3: jwt.issuer: is missing"),
        ("audience = []", "line 3: jwt.audience: is missing"),
        ("audience = [\"a\", \"\"]", "line 3: jwt.audience: is missing"),
        ("leeway = \"6m\"", "line 3: jwt.leeway: must be at most 5m"),
        ("jwks_refresh = \"0s\"", "line 3: jwt.jwks_refresh: must be between 1s and 1d"),
        ("role_claim = \"a..b\"", "line 3: jwt.role_claim: must be the name of a claim"),
        ("default_role = \"shop\"", "line 3: jwt.default_role: \"shop\" is not a declared role"),
        ("default_role = \"anonymous\"", "line 3: jwt.default_role: a token says who sends it"),
    ] {
        check_jwt(url, rest, &[expected]);
    }
    check(&format!("[jwt]\n{url}"), &["jwt.algorithms", "jwt.issuer", "jwt.audience"]);
    check("[jwt]\nissuer = \"i\"", &["line 2: jwt.issuer: means nothing without a key"]);
    let open = format!(
        "auth.open = true\n[jwt]\n{url}\nalgorithms = [\"ES256\"]\nissuer = \"i\"\naudience = [\"a\"]"
    );
    check(&open, &["line 5: jwt.issuer: tokens mean nothing while everyone may do everything"]);
}

#[test]
fn problems_name_the_line_or_the_variable_of_the_value() {
    check("\ncursor_secret = \"short\"", &["line 2: cursor_secret: must be at least 16 bytes"]);
    check("[redis]\napp = \"a b\"", &["line 2: redis.app: must be 1 to 64 letters"]);
    let role = "[[role]]\nname = \"a\"\n";
    check(&role.repeat(2), &["line 4: role[1].name: \"a\" is declared twice"]);
    let key = format!("[[key]]\nname = \"k\"\nrole = \"a\"\nsha256 = \"{}\"\n", "0".repeat(64));
    check(&format!("auth.open = true\n{role}{key}"), &["line 1: auth.open: keys mean nothing"]);
    let grant = "[[collection]]\nname = \"c\"\nid = \"int\"\n[[collection.grant]]\nrole = \"b\"\n";
    check(grant, &["line 4: collection[0].grant[0].role: \"b\" is not a declared role"]);

    let variable = [("LARDER_CURSOR_SECRET", "short")];
    check_with("listen = \"127.0.0.1:1\"", &variable, &["LARDER_CURSOR_SECRET: must be at least 16 bytes"]);
    let variable = [("LARDER_REDIS__DEADLINE", "0s")];
    check_with("redis.deadline = \"1s\"", &variable, &["LARDER_REDIS__DEADLINE: must be longer than zero"]);
}

/// A collection of orders with one grant, which begins on line 11.
fn orders(auth: &str, grant: &str) -> String {
    format!(
        "{auth}\n[[collection]]\nname = \"orders\"\nid = \"int\"\nfield = [\n  {{ path = \"tenant\", type = \"string\" }},\n  \
         {{ path = \"org\", type = \"object\" }},\n]\n[[collection.grant]]\n{grant}"
    )
}

#[test]
fn rows_are_conditions_on_declared_fields() {
    let roles = "[[role]]\nname = \"shop\"";
    let with = |rows: &str| orders(roles, &format!("role = \"shop\"\nrows = {rows}"));
    check(&with(r#"["tenant=eq.{tenant}", "or=(_id.gt.7,tenant.in.{all})"]"#), &[]);
    for (rows, expected) in [
        ("[]", "must have a condition"),
        (r#""tenant=eq.{tenant}""#, "must be a list in brackets"),
        (r#"["tennant=eq.{t}"]"#, "\"tennant\" is not a declared field; did you mean \"tenant\"?"),
        (r#"["tenant=is.{t}"]"#, "\"tenant\" takes no `{name}` with `is`"),
        (r#"["tenant=like.a"]"#, "\"tenant\" has no operator `like`"),
        (r#"["tenant=eq.a-{t}"]"#, "\"tenant\" has a brace"),
        (r#"["_id=eq.x"]"#, "\"_id\" must be an integer"),
        (r#"["org=eq.{t}"]"#, "\"org\" cannot be filtered by"),
        (r#"["tenant"]"#, "\"tenant\" must be a field, an operator and a value"),
        (r#"["or=tenant.eq.a"]"#, "\"or\" must be a list in parentheses"),
    ] {
        check(&with(rows), &[&format!("line 12: collection[0].grant[0].rows: {expected}")]);
    }
}

#[test]
fn rows_are_not_for_those_of_whom_nothing_is_known_or_who_see_everything() {
    let grant = |role: &str, verbs: &str, rows: &str| {
        format!("role = \"{role}\"\nverbs = [{verbs}]\nrows = [\"tenant=eq.{rows}\"]")
    };
    check(&orders("", &grant("anonymous", "\"list\"", "public")), &[]);
    check(
        &orders("", &grant("anonymous", "\"list\"", "{tenant}")),
        &["collection[0].grant[0].rows: nothing is known of who sends no key, so \"{tenant}\" has no value"],
    );
    let roles = "[[role]]\nname = \"shop\"";
    check(
        &orders(roles, &grant("shop", "\"list\", \"purge\"", "{tenant}")),
        &["collection[0].grant[0].verbs: \"purge\" is of documents whoever they belong to"],
    );
    check(
        &orders(&format!("{roles}\nadmin = true"), &grant("shop", "\"list\"", "{tenant}")),
        &["collection[0].grant[0].rows: a role with admin = true is shown the ids of all documents"],
    );
}

#[test]
fn claims_are_plain_values_and_lists_of_them() {
    let key = |claims: &str| {
        format!(
            "[[role]]\nname = \"shop\"\n[[key]]\nname = \"a\"\nrole = \"shop\"\nsha256 = \"{}\"\nclaims = {claims}",
            "0".repeat(64)
        )
    };
    let claims = "{ tenant = \"acme\", level = 0x3, ratio = 0.5, live = true, regions = [\"eu\", \"us\"] }";
    let config = parse("test", &key(claims), &BTreeMap::new()).unwrap();
    let expected = serde_json::json!({
        "tenant": "acme", "level": 3, "ratio": 0.5, "live": true, "regions": ["eu", "us"],
    });
    assert_eq!(*config.auth.keys[0].claims.as_ref().unwrap().0, *expected.as_object().unwrap());
    for (claims, expected) in [
        ("\"acme\"", "must be a table"),
        ("{ a = { b = 1 } }", "a: must be a table"),
        ("{ a = [[1]] }", "a: must be a table"),
        ("{ a = 1979-05-27 }", "a: must be a table"),
        ("{ a = nan }", "a: must be a table"),
    ] {
        check(&key(claims), &[&format!("line 7: key[0].claims: {expected}")]);
    }
}
