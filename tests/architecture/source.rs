//! What a Rust source says, as far as the floors care: words and signs, without comments and literals.
//!
//! Rejected: `syn`. It would parse macros' arguments no better than this does (not at all), and a path that
//! hides in `select!` must be found too.

/// A word or a sign, and the line where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// An identifier, a keyword or one sign; `::` is one token.
    pub text: String,
    /// Counted from 1.
    pub line: usize,
}

/// Splits `source` into words and signs. Comments, strings, characters, lifetimes and numbers are left out.
pub fn tokens(source: &str) -> Vec<Token> {
    let mut reader = Reader { chars: source.chars().collect(), at: 0, line: 1, tokens: Vec::new() };
    while let Some(c) = reader.peek(0) {
        reader.one(c);
    }
    reader.tokens
}

struct Reader {
    chars: Vec<char>,
    at: usize,
    line: usize,
    tokens: Vec<Token>,
}

impl Reader {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn step(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn one(&mut self, c: char) {
        match (c, self.peek(1)) {
            ('/', Some('/')) => {
                while self.peek(0).is_some_and(|c| c != '\n') {
                    self.step();
                }
            }
            ('/', Some('*')) => self.block_comment(),
            ('"', _) => self.string(),
            ('\'', _) => self.character_or_lifetime(),
            (c, _) if c.is_alphabetic() || c == '_' => self.word(),
            (c, _) if c.is_ascii_digit() => {
                while self.peek(0).is_some_and(is_word) {
                    self.step();
                }
            }
            (':', Some(':')) => {
                self.tokens.push(Token { text: "::".to_owned(), line: self.line });
                self.at += 2;
            }
            (c, _) => {
                if !c.is_whitespace() {
                    self.tokens.push(Token { text: c.to_string(), line: self.line });
                }
                self.step();
            }
        }
    }

    fn word(&mut self) {
        let (start, line) = (self.at, self.line);
        while self.peek(0).is_some_and(is_word) {
            self.step();
        }
        let text: String = self.chars[start..self.at].iter().collect();
        match (text.as_str(), self.peek(0), self.peek(1)) {
            ("r" | "br" | "cr", Some('"'), _)
            | ("br" | "cr", Some('#'), _)
            | ("r", Some('#'), Some('#' | '"')) => {
                self.raw_string();
            }
            // `b"…"`, `c"…"` and `b'…'`: the quote that follows is read as a string or a character.
            ("b" | "c", Some('"' | '\''), _) => {}
            // `r#type`: the name that follows counts.
            ("r", Some('#'), _) => self.at += 1,
            _ => self.tokens.push(Token { text, line }),
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => (self.at, depth) = (self.at + 2, depth + 1),
                (Some('*'), Some('/')) => (self.at, depth) = (self.at + 2, depth - 1),
                (Some(_), _) => _ = self.step(),
                (None, _) => return,
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.step();
        while let Some(c) = self.step() {
            match c {
                '\\' => _ = self.step(),
                '"' => return,
                _ => {}
            }
        }
    }

    fn raw_string(&mut self) {
        let mut hashes = 0;
        while self.step() == Some('#') {
            hashes += 1;
        }
        while let Some(c) = self.step() {
            if c == '"' && (0..hashes).all(|ahead| self.peek(ahead) == Some('#')) {
                self.at += hashes;
                return;
            }
        }
    }

    fn character_or_lifetime(&mut self) {
        self.step();
        let is_lifetime = self.peek(0).is_some_and(is_word) && self.peek(1) != Some('\'');
        if is_lifetime {
            while self.peek(0).is_some_and(is_word) {
                self.step();
            }
            return;
        }
        while let Some(c) = self.step() {
            match c {
                '\\' => _ = self.step(),
                '\'' => return,
                _ => {}
            }
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
