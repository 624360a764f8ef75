//! The pages below docs/clouds as the place where the brokers of the tests have their configurations from: what stands
//! there is what was run.

const PAGES: [&str; 3] = [
    include_str!("../../docs/clouds/mosquitto.md"),
    include_str!("../../docs/clouds/rabbitmq.md"),
    include_str!("../../docs/clouds/nats.md"),
];

/// The block of the pages that begins with this line, with some of its words replaced; each must be there.
#[track_caller]
pub fn block(first_line: &str, replacements: &[(&str, String)]) -> String {
    let beginning = format!("```text\n{first_line}\n");
    let (_, rest) = PAGES
        .iter()
        .find_map(|page| page.split_once(&beginning))
        .unwrap_or_else(|| panic!("no block `{first_line}`"));
    let mut text = rest.split("```").next().expect("a block ends").to_owned();
    for (old, new) in replacements {
        assert!(text.contains(old), "`{old}` is not in the block `{first_line}`");
        text = text.replace(old, new);
    }
    text
}
