//! The servers the tests need: found on this machine, else installed from the distribution's packages.

use std::{env, process::Command};

/// One program the tests start, and how it is had.
pub(crate) struct Need {
    name: &'static str,
    found: fn() -> Option<String>,
    /// Packages by package manager; of the words between bars the first that exists is taken.
    packages: [(&'static str, &'static str); 4],
}

pub(crate) const REDIS: Need = Need {
    name: "redis-server",
    found: || first_line("redis-server", &["--version"]),
    packages: [("apt-get", "redis-server"), ("dnf", "redis"), ("pacman", "redis"), ("brew", "redis")],
};
pub(crate) const JAVA: Need = Need {
    name: "a Java development kit, 17 or newer",
    found: || first_line("javac", &["-version"]).filter(|line| java_release(line) >= Some(17)),
    packages: [
        ("apt-get", "openjdk-21-jdk-headless|openjdk-17-jdk-headless"),
        ("dnf", "java-21-openjdk-devel"),
        ("pacman", "jdk21-openjdk"),
        ("brew", "openjdk@21"),
    ],
};
pub(crate) const MAVEN: Need = Need {
    name: "mvn",
    found: || first_line("mvn", &["--version"]),
    packages: [("apt-get", "maven"), ("dnf", "maven"), ("pacman", "maven"), ("brew", "maven")],
};

/// The tests type what the README tells to type.
pub(crate) const CURL: Need = Need {
    name: "curl",
    found: || first_line("curl", &["--version"]),
    packages: [("apt-get", "curl"), ("dnf", "curl"), ("pacman", "curl"), ("brew", "curl")],
};

/// What a test run needs. A `mongod` of one's own makes Java and Maven unnecessary.
pub(crate) fn for_tests() -> Vec<Need> {
    match first_line("mongod", &["--version"]) {
        Some(_) => vec![REDIS, CURL],
        None => vec![REDIS, CURL, JAVA, MAVEN],
    }
}

/// Returns a line for each server, installing the missing ones; an error names the command that would.
pub(crate) fn ensure(needs: &[Need]) -> Result<Vec<String>, String> {
    let missing: Vec<&Need> = needs.iter().filter(|need| (need.found)().is_none()).collect();
    if !missing.is_empty() {
        install(&missing)?;
    }
    needs.iter().map(|need| (need.found)().ok_or(format!("{} is still missing", need.name))).collect()
}

fn install(missing: &[&Need]) -> Result<(), String> {
    let names = missing.iter().map(|need| need.name).collect::<Vec<_>>().join(", ");
    let manager = ["apt-get", "dnf", "pacman", "brew"].into_iter().find(|name| on_path(name));
    let Some(manager) = manager else {
        return Err(format!("missing: {names}; install them"));
    };
    let packages: Vec<&str> = missing
        .iter()
        .filter_map(|need| need.packages.iter().find(|entry| entry.0 == manager))
        .map(|entry| entry.1)
        .collect();
    if manager != "apt-get" {
        let verb = if manager == "pacman" { "-S" } else { "install" };
        return Err(format!("missing: {names}; run `{manager} {verb} {}`", packages.join(" ")));
    }
    let by_hand =
        packages.iter().map(|words| words.split('|').next_back().unwrap_or(words)).collect::<Vec<_>>();
    let command = format!("missing: {names}; run `sudo apt-get install {}`", by_hand.join(" "));
    let is_root = |program: &str, arguments: &[&str]| first_line(program, arguments).as_deref() == Some("0");
    let mut shell = if is_root("id", &["-u"]) {
        Command::new("sh")
    } else if is_root("sudo", &["-n", "id", "-u"]) {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "sh"]);
        sudo
    } else {
        return Err(command);
    };
    crate::run(&format!("install {names}"), shell.args(["-c", APT, "sh"]).args(&packages))
        .map_err(|error| format!("{error}\n{command}"))
}

/// Installs without starting a service: the tests start their own servers on free ports.
const APT: &str = r#"
set -e
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod +x "$policy"
fi
apt-get -q update
chosen=
for words in "$@"; do
    for name in $(echo "$words" | tr '|' ' '); do
        if apt-cache show "$name" > /dev/null 2>&1; then chosen="$chosen $name"; break; fi
    done
done
apt-get -q install -y --no-install-recommends $chosen
case "$chosen" in *redis-server*) systemctl disable redis-server > /dev/null 2>&1 || true ;; esac
"#;

/// The release of `javac 17.0.15`.
fn java_release(line: &str) -> Option<u32> {
    line.split([' ', '.']).nth(1)?.parse().ok()
}

fn on_path(program: &str) -> bool {
    env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&text).lines().next().map(|line| line.trim().to_owned())
}
