//! The manual pages of the commands, section 8: hearthlink(8), and one for each command that `--help` shows.
//!
//! What a command takes is read from clap's own tree; what is not obvious from there is the paragraph of `docs/cli.md`.
//! Only what neither knows stands here: files, variables, signals, examples.

use clap::{Arg, Command};

use super::page::{Page, Title, sentence};
use crate::cli::{DEFAULT_FILE, exit};

/// Of each command only its own section is printed.
const COMMAND_LINE: &str = include_str!("../../../docs/cli.md");

/// The command, what is wanted, and what is typed for it. `tests/pages.rs` parses each.
const EXAMPLES: [(&str, &str, &str); 19] = [
    (
        "init",
        "A first configuration, without a question.",
        "hearthlink init --name home --cloud none --devices all --port 8080",
    ),
    ("run", "The gateway, as the service runs it.", "hearthlink run"),
    (
        "run",
        "Try a configuration on a machine without the hardware.",
        "hearthlink run --simulate --config home.yaml",
    ),
    ("check", "Before a restart.", "hearthlink check && systemctl restart hearthlink"),
    ("status", "Look on while something is tried.", "hearthlink status --watch"),
    ("devices", "What every device said last, for a program.", "hearthlink devices --json"),
    ("send", "Toast.", "hearthlink send toaster ON"),
    ("send", "Several fields at once.", "hearthlink send lamp '{\"state\": \"ON\", \"brightness\": 30}'"),
    ("queue", "The ten oldest messages that wait.", "hearthlink queue list --most 10"),
    ("queue", "The one with this number, whole.", "hearthlink queue show 17"),
    ("doctor", "What is wrong, and what to do.", "hearthlink doctor"),
    ("enroll", "A key, and a request for whoever signs certificates.", "hearthlink enroll --csr home.csr"),
    ("enroll", "Put in place what came back.", "hearthlink enroll --import home.pem"),
    ("user", "A user for a device; the password is asked for.", "hearthlink user add sensor"),
    (
        "hash-password",
        "A hash for a configuration that a program writes.",
        "hearthlink hash-password < password.txt",
    ),
    ("reset", "As new, but for the configuration.", "hearthlink reset --all"),
    ("config", "The schema for an editor.", "hearthlink config schema > hearthlink.schema.json"),
    ("completions", "Completions in this shell.", "source <(hearthlink completions bash)"),
    ("demo", "The whole story, once.", "hearthlink demo --once"),
];

const VARIABLES: [(&str, &str); 6] = [
    (
        "`HEARTHLINK_LOG`",
        "How much is logged, in place of `log.level`: `debug`, or by parts, `info,hearthlink::link=trace`.",
    ),
    (
        "`HEARTHLINK__`SECTION`__`SETTING",
        "A setting in place of the file's: `HEARTHLINK__CLOUD__URL` sets `cloud.url`. For values, not for lists.",
    ),
    (
        "`HTTPS_PROXY`, `https_proxy`, `NO_PROXY`, `no_proxy`",
        "The proxy on the way to the cloud, where `cloud.proxy` does not name one, and what is reached without it.",
    ),
    (
        "`CREDENTIALS_DIRECTORY`",
        "Where systemd puts credentials. Secrets below it need not belong to the user of the service.",
    ),
    ("`TZ`", "The time zone of `quiet` hours, where it is not the machine's."),
    ("`NO_COLOR`", "When it is not empty, problems of a configuration are shown without colours."),
];

const SIGNALS: [(&str, &str); 2] = [
    (
        "`SIGTERM`, `SIGINT`",
        "Stop in order: outputs go to their safe state, what was accepted is written, the cloud is told. A second one \
         ends at once.",
    ),
    (
        "`SIGHUP`",
        "Read the configuration again. `log.level` and the certificates of the broker's listeners are taken over; what \
         needs a restart is named in the log. A configuration that is wrong changes nothing.",
    ),
];

/// The pages: for each the name of its file, and its text.
pub(super) fn pages(root: &Command, date: &str) -> Vec<(String, String)> {
    let shown: Vec<&Command> = root.get_subcommands().filter(|command| is_shown(command)).collect();
    let mut pages = vec![("hearthlink.8".to_owned(), overview(root, &shown, date))];
    for command in shown {
        pages.push((format!("hearthlink-{}.8", command.get_name()), single(command, date)));
    }
    pages
}

fn is_shown(command: &Command) -> bool {
    !command.is_hide_set() && command.get_name() != "help"
}

fn overview(root: &Command, shown: &[&Command], date: &str) -> String {
    let mut page = begin("hearthlink", "home-side MQTT gateway for the Raspberry Pi", date);
    page.section("SYNOPSIS");
    page.paragraph("`hearthlink` COMMAND [OPTION]...");
    page.section("DESCRIPTION");
    page.paragraph(&sentence(&about(root)));
    page.paragraph(
        "Devices at home speak to it over MQTT, GPIO, Bluetooth LE and serial lines. It holds one outbound connection to \
         a cloud broker, relays telemetry out and commands in, and listens to nobody on the Internet. What it accepted \
         is on the disk before it counts as accepted. A command runs once, in time, or not at all, and only if \
         `commands.allow` has it.",
    );
    page.paragraph(
        "The service `hearthlink.service` runs it. While there is no configuration, it shows at http://127.0.0.1:8080 what \
         to write.",
    );
    page.section("COMMANDS");
    for command in shown {
        page.term(&format!("`hearthlink-{}`(8)", command.get_name()), &sentence(&about(command)));
    }
    page.section("OPTIONS");
    page.term("`-h`, `--help`", "Say what there is. Behind a command: what that command takes.");
    page.term("`-V`, `--version`", "Say which version this is.");
    exit_status(&mut page);
    terms(&mut page, "ENVIRONMENT", &VARIABLES);
    files(&mut page);
    page.section("EXAMPLES");
    page.paragraph("A new gateway, from the first question to the first toast.");
    page.code("hearthlink init\nhearthlink check\nsystemctl restart hearthlink\nhearthlink doctor\nhearthlink send toaster ON");
    end(&mut page, &["hearthlink(5)", "hearthlink-devices(5)", "systemctl(1)", "journalctl(1)"]);
    page.into_text()
}

fn single(command: &Command, date: &str) -> String {
    let name = command.get_name();
    let mut page = begin(&format!("hearthlink-{name}"), &lower(&about(command)), date);
    let path = format!("hearthlink {name}");
    let below: Vec<&Command> = command.get_subcommands().filter(|command| is_shown(command)).collect();
    page.section("SYNOPSIS");
    if below.is_empty() {
        page.paragraph(&usage(&path, command));
    }
    for command in &below {
        page.paragraph(&usage(&format!("{path} {}", command.get_name()), command));
    }
    page.section("DESCRIPTION");
    let long = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    page.markdown(&sentence(&long));
    if let Some(more) = section(name) {
        page.markdown(more);
    }
    let own: Vec<&Arg> = command.get_arguments().filter(|argument| is_own(argument)).collect();
    if !own.is_empty() {
        page.section("OPTIONS");
        options(&mut page, &own);
    }
    if !below.is_empty() {
        page.section("COMMANDS");
    }
    for command in below {
        page.subsection(command.get_name());
        page.paragraph(&sentence(&about(command)));
        // What is for all of them is told above.
        let own = command.get_arguments().filter(|argument| is_own(argument) && !argument.is_global_set());
        options(&mut page, &own.collect::<Vec<_>>());
    }
    exit_status(&mut page);
    if name == "run" {
        terms(&mut page, "SIGNALS", &SIGNALS);
        terms(&mut page, "ENVIRONMENT", &VARIABLES);
    }
    if command.get_arguments().any(|argument| argument.get_id() == "config") {
        files(&mut page);
    }
    page.section("EXAMPLES");
    for (_, what, line) in EXAMPLES.iter().filter(|(of, ..)| *of == name) {
        page.paragraph(what);
        page.code(line);
    }
    end(&mut page, &["hearthlink(8)", "hearthlink(5)"]);
    page.into_text()
}

fn begin(name: &str, about: &str, date: &str) -> Page {
    let mut page = Page::new(Title { name, section: 8, date });
    page.section("NAME");
    page.name(name, about.trim_end_matches('.'));
    page
}

/// What it is, in one sentence.
fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

/// The first sentence, without a capital; of the whole-page index.
fn lower(text: &str) -> String {
    let first = text.split_once(": ").map_or(text, |(first, _)| first);
    let first = first.split_once(". ").map_or(first, |(first, _)| first);
    let mut rest = first.chars();
    rest.next().into_iter().flat_map(char::to_lowercase).chain(rest).collect()
}

/// What `docs/cli.md` has below the heading with this command's name.
fn section(name: &str) -> Option<&'static str> {
    COMMAND_LINE.split("\n## ").skip(1).find_map(|section| {
        let (heading, text) = section.split_once('\n')?;
        heading.split(" and ").any(|word| word == name).then_some(text)
    })
}

/// Whether `--help` shows it, and it is not `--help` itself.
fn is_own(argument: &Arg) -> bool {
    !argument.is_hide_set() && argument.get_id() != "help" && argument.get_id() != "version"
}

fn usage(path: &str, command: &Command) -> String {
    let group = command.get_groups().find(|group| group.is_required_set());
    let grouped: Vec<_> = group.into_iter().flat_map(clap::ArgGroup::get_args).collect();
    let mut words = vec![format!("`{path}`")];
    for argument in command.get_arguments().filter(|argument| is_own(argument)) {
        if !grouped.contains(&argument.get_id()) {
            let is_required = argument.is_required_set();
            let spelt = spelt(argument);
            words.push(if is_required { spelt } else { format!("[{spelt}]") });
        }
    }
    let of_group = command.get_arguments().filter(|argument| grouped.contains(&argument.get_id()));
    let of_group: Vec<String> = of_group.map(spelt).collect();
    if !of_group.is_empty() {
        words.push(format!("{{{}}}...", of_group.join("|")));
    }
    // A blank in an option would be where the line is broken.
    words.join(" ")
}

/// `--config FILE`, `DEVICE`, `ID...`; a value that may be left out in brackets.
fn spelt(argument: &Arg) -> String {
    let takes = argument.get_num_args().is_some_and(|count| count.takes_values());
    let is_optional = argument.get_num_args().is_some_and(|count| count.min_values() == 0);
    let names =
        argument.get_value_names().map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>());
    let value = names.map_or_else(|| argument.get_id().as_str().to_uppercase(), |names| names.join(" "));
    match argument.get_long() {
        None if argument.get_num_args().is_some_and(|count| count.max_values() > 1) => format!("{value}..."),
        None => value,
        Some(long) if takes && is_optional => format!("`--{long}` [{value}]"),
        Some(long) if takes => format!("`--{long}` {value}"),
        Some(long) => format!("`--{long}`"),
    }
}

fn options(page: &mut Page, arguments: &[&Arg]) {
    for argument in arguments {
        let help =
            argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
        let mut about = sentence(&help);
        let values = argument.get_possible_values();
        let values: Vec<String> = values.iter().map(|value| format!("`{}`", value.get_name())).collect();
        let takes = argument.get_num_args().is_some_and(|count| count.takes_values());
        if takes && !values.is_empty() {
            about = format!("{about} One of {}.", values.join(", "));
        }
        let default = argument.get_default_values().iter().map(|value| value.to_string_lossy());
        let default = default.collect::<Vec<_>>().join(" ");
        if takes && !default.is_empty() {
            about = format!("{about} Default: `{default}`.");
        }
        page.term(&spelt(argument), &about);
    }
}

fn exit_status(page: &mut Page) {
    page.section("EXIT STATUS");
    for (code, meaning) in exit::MEANINGS {
        page.term(&format!("`{code}`"), &sentence(meaning));
    }
}

fn files(page: &mut Page) {
    let beside = DEFAULT_FILE.rsplit_once('/').map_or("", |(directory, _)| directory);
    page.section("FILES");
    for (path, about) in [
        (
            DEFAULT_FILE.to_owned(),
            "The configuration, unless `--config` names another one: see hearthlink(5).",
        ),
        (format!("{beside}/config.d/*.yaml"), "Laid over it, in the order of their names."),
        (format!("{beside}/users.yaml"), "Who may connect to the broker at home: see hearthlink-user(8)."),
        (
            format!("{beside}/credentials/"),
            "Secrets that systemd hands over to the service; only root reads them.",
        ),
        (
            "/var/lib/hearthlink/".to_owned(),
            "The store: the queue, the journal of commands, retained messages, states.",
        ),
    ] {
        page.term(&format!("`{path}`"), about);
    }
}

fn terms(page: &mut Page, heading: &str, terms: &[(&str, &str)]) {
    page.section(heading);
    for (term, about) in terms {
        page.term(term, about);
    }
}

/// Where faults are told, and what else there is to read.
pub(super) fn end(page: &mut Page, others: &[&str]) {
    page.section("BUGS");
    let place = match env!("CARGO_PKG_REPOSITORY") {
        "" => "where this package came from",
        repository => repository,
    };
    page.paragraph(&format!(
        "Tell them {place}, with what `hearthlink --version` and `hearthlink doctor` say. What harms the security of a \
         house is told in private, as SECURITY.md says."
    ));
    page.section("SEE ALSO");
    let others: Vec<String> = others
        .iter()
        .filter_map(|page| page.split_once('('))
        .map(|(name, section)| format!("`{name}`({section}"))
        .collect();
    page.paragraph(&others.join(", "));
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_command_has_an_example_and_every_example_is_understood() {
        let root = Cli::command();
        for command in root.get_subcommands().filter(|command| is_shown(command)) {
            assert!(EXAMPLES.iter().any(|(of, ..)| *of == command.get_name()), "{}", command.get_name());
        }
        for (of, _, line) in EXAMPLES {
            let typed = line
                .trim_start_matches("source <(")
                .split(" < ")
                .next()
                .and_then(|line| line.split(" > ").next());
            let typed =
                typed.and_then(|line| line.split(" && ").next()).expect("a line").trim_end_matches(')');
            let (typed, quoted) = typed.split_once(" '").unwrap_or((typed, ""));
            let quoted = Some(quoted.trim_end_matches('\'')).filter(|quoted| !quoted.is_empty());
            let words: Vec<&str> = typed.split(' ').chain(quoted).collect();
            let parsed =
                root.clone().try_get_matches_from(&words).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(parsed.subcommand_name(), Some(of), "{line}");
        }
    }

    #[test]
    fn the_paragraphs_of_the_manual_are_found_by_their_headings() {
        for (name, part) in [("init", "--force"), ("devices", "--watch"), ("reset", "--journal")] {
            assert!(section(name).is_some_and(|text| text.contains(part)), "{name}");
        }
        assert_eq!(section("Exit codes").map(str::is_empty), Some(false));
        assert_eq!(section("doctor"), None);
    }
}
