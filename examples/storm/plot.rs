//! Courses of storms as a small SVG picture: connects a second, on a logarithmic scale, over the time.

use std::fmt::Write as _;

use super::simulation::Course;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 46.0;
/// From 1 to a million connects a second would be six; a hundred thousand is the most that can come.
const DECADES: u32 = 5;

/// One line of the picture.
pub struct Line<'a> {
    pub name: &'a str,
    pub colour: &'a str,
    pub course: &'a Course,
}

/// Draws the first `seconds` of each course, and what the cloud can take.
pub fn svg(title: &str, lines: &[Line<'_>], door: u32, seconds: usize) -> String {
    let x = |second: f64| LEFT + second / seconds as f64 * (WIDTH - LEFT - RIGHT);
    let y = |connects: f64| {
        let share = connects.max(1.0).log10() / f64::from(DECADES);
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    };
    let mut out = String::new();
    // Writing to a String cannot fail.
    let mut add = |text: std::fmt::Arguments<'_>| {
        let _ = writeln!(out, "{text}");
    };
    add(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\" role=\"img\" aria-label=\"{title}\">"
    ));
    add(format_args!("<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>"));
    add(format_args!("<text x=\"{LEFT}\" y=\"18\" font-size=\"14\" fill=\"#222222\">{title}</text>"));
    for decade in 0..=DECADES {
        let connects = 10f64.powi(decade as i32);
        let at = y(connects);
        add(format_args!(
            "<path d=\"M{LEFT} {at:.1}H{:.1}\" stroke=\"#dddddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#444444\">{connects}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
        ));
    }
    for tick in (0..=seconds).step_by((seconds / 5).max(1)) {
        add(format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#444444\">{tick} s</text>",
            x(tick as f64),
            HEIGHT - BOTTOM + 18.0,
        ));
    }
    add(format_args!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#444444\">since the cloud is back</text>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 10.0,
    ));
    add(format_args!(
        "<text transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\" fill=\"#444444\">connects a second</text>",
        (TOP + HEIGHT - BOTTOM) / 2.0,
    ));
    // The first one on top.
    for Line { colour, course, .. } in lines.iter().rev() {
        let mut path = String::new();
        let last = course.connects.len().min(seconds);
        for second in 0..last {
            let connects = course.connects.get(second).copied().unwrap_or(0);
            let letter = if second == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{letter}{:.1} {:.1}", x(second as f64 + 0.5), y(f64::from(connects)));
        }
        add(format_args!("<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>"));
    }
    let door_at = y(f64::from(door));
    add(format_args!(
        "<path d=\"M{LEFT} {door_at:.1}H{:.1}\" stroke=\"#222222\" stroke-dasharray=\"5 4\"/>",
        WIDTH - RIGHT
    ));
    let mut at = LEFT;
    for Line { name, colour, .. } in lines {
        add(format_args!("<text x=\"{at:.1}\" y=\"36\" fill=\"{colour}\">{name}</text>"));
        at += 40.0 + 6.4 * name.len() as f64;
    }
    add(format_args!("<text x=\"{at:.1}\" y=\"36\" fill=\"#222222\">- - what the cloud can take</text>"));
    add(format_args!("</svg>"));
    out
}
