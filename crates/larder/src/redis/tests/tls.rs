//! Who may connect to whom: TLS and logins.

use larder_testkit::{redis::Tls, tls::Authority};

use super::*;

fn tls_server(authority: &Authority, clients: Option<&Authority>) -> (Server, String) {
    let tls = Tls { identity: authority.issue(), clients: clients.map(Authority::pem) };
    let server = Server::start(&Options { tls: Some(tls), ..Options::default() });
    let url = format!("rediss://127.0.0.1:{}", server.tls_port());
    (server, url)
}

async fn refusal(config: RedisConfig) -> crate::Error {
    Redis::connect(config.require_at_start(true)).await.expect_err("the connection is refused")
}

#[tokio::test]
async fn a_server_is_trusted_if_the_given_authority_signed_its_certificate() {
    let authority = Authority::new("ours");
    let (_server, url) = tls_server(&authority, None);
    let redis = Redis::connect(patient(url.clone()).ca_certificate(authority.pem())).await.unwrap();
    redis.ping().await.unwrap();

    let stranger = Authority::new("theirs").pem();
    for config in [patient(url.clone()).ca_certificate(stranger), patient(url)] {
        let error = refusal(config).await;
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("certificate is not trusted"), "{error}");
    }
}

#[tokio::test]
async fn a_client_shows_its_certificate_where_one_is_asked_for() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let (_server, url) = tls_server(&servers, Some(&clients));
    let config = patient(url).ca_certificate(servers.pem());
    let me = clients.issue();
    let redis = Redis::connect(config.clone().client_certificate(me.certificate, me.key)).await.unwrap();
    redis.ping().await.unwrap();
    refusal(config).await;
}

#[tokio::test]
async fn certificates_that_cannot_be_read_are_a_mistake_in_the_configuration() {
    let at = |url: &str| patient(url.to_owned());
    let broken = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
    for config in [
        at("rediss://127.0.0.1:1").ca_certificate("no pem"),
        at("rediss://127.0.0.1:1").ca_certificate(broken),
        at("rediss://127.0.0.1:1").client_certificate("no pem", "no key"),
        at("redis://127.0.0.1:1").ca_certificate(Authority::new("ours").pem()),
    ] {
        let error = refusal(config).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }
}

#[tokio::test]
async fn tls_to_a_server_without_it_fails_in_time() {
    let server = Server::start(&Options::default());
    let url = format!("rediss://127.0.0.1:{}", server.port());
    let error = refusal(patient(url)).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn a_login_is_used_and_a_wrong_one_is_explained_without_the_password() {
    let server = Server::start(
        &Options { credentials: Some(("kit".to_owned(), "pass".to_owned())), ..Options::default() }
            .with(&["--user", "kit", "on", ">pass", "~*", "&*", "+@all"])
            .with(&["--user", "ann", "on", ">s3same@:", "~*", "&*", "+@all"])
            .with(&["--user", "default", "off"]),
    );
    let url = |login: &str| format!("redis://{login}127.0.0.1:{}", server.port());
    let redis = Redis::connect(patient(url("ann:s3same%40%3a@"))).await.unwrap();
    redis.ping().await.unwrap();
    assert!(!format!("{redis:?}").contains("s3same"));

    for login in ["ann:0pen@", "bob:0pen@", ":0pen@", ""] {
        // Not required at start, and yet an error: waiting will not mend it.
        let error = Redis::connect(patient(url(login))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{login}");
        let said = format!("{error} {error:?}");
        assert!(!said.contains("0pen") && said.contains("password"), "{said}");
    }
}

#[tokio::test]
async fn a_user_who_may_not_ask_for_info_can_still_work_and_is_told_what_is_forbidden() {
    let server = Server::start(
        &Options { credentials: Some(("kit".to_owned(), "pass".to_owned())), ..Options::default() }
            .with(&["--user", "kit", "on", ">pass", "~*", "&*", "+@all"])
            .with(&["--user", "low", "on", ">pw", "~*", "+get", "+ping", "+hello"])
            .with(&["--user", "default", "off"]),
    );
    let redis = Redis::connect(patient(format!("redis://low:pw@127.0.0.1:{}", server.port()))).await.unwrap();
    assert_eq!(redis.command(b"k", cmd("GET").arg("k")).await.unwrap(), Value::Nil);
    let error = redis.command(b"k", cmd("SET").arg("k").arg("v")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("NOPERM"), "{error}");
}
