//! The fields of an event in a line of text: as `tracing_subscriber` writes them, without `message_id`, which says
//! nothing to a person.

use std::{error::Error, fmt};

use tracing::field::{Field, Visit};
use tracing_subscriber::{
    field::{RecordFields, VisitOutput},
    fmt::{
        FormatFields,
        format::{DefaultVisitor, Writer},
    },
};

/// Fields without ids.
pub(super) struct WithoutIds;

impl<'writer> FormatFields<'writer> for WithoutIds {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut visitor = Visitor(DefaultVisitor::new(writer, true));
        fields.record(&mut visitor);
        visitor.0.finish()
    }
}

struct Visitor<'writer>(DefaultVisitor<'writer>);

impl Visit for Visitor<'_> {
    /// Only this one has texts, and an id is a text.
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() != "message_id" {
            self.0.record_str(field, value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.0.record_error(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.record_debug(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_has_every_field_but_the_id() {
        let paper = Paper::default();
        let written = paper.clone();
        let lines = tracing_subscriber::fmt()
            .with_writer(move || written.clone())
            .with_ansi(false)
            .without_time()
            .fmt_fields(WithoutIds)
            .finish();
        tracing::subscriber::with_default(lines, || {
            let error: &(dyn Error + 'static) = &fmt::Error;
            tracing::info!(message_id = "0815", device = %"lamp", count = 3, error, word = "w", "{}", "it is so");
        });
        let line = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        let (_, said) = line.split_once(": ").unwrap();
        let error = "an error occurred when formatting an argument";
        assert_eq!(said, format!("it is so device=lamp count=3 error={error} word=\"w\"\n"));
    }
}
