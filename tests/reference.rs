//! The manual's page of every setting is what the schema says now.

#[path = "../examples/reference/page.rs"]
mod page;

#[test]
fn the_page_of_every_setting_is_made_from_the_schema_of_today() {
    let kept = include_str!("../docs/configuration.md");
    assert!(kept == page::page(), "docs/configuration.md is old: `cargo run --example reference -- docs`");
}
