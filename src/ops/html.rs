//! HTML, written piece by piece. Markup is what stands in this program; every other text is escaped.

use std::borrow::Cow;

#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Markup as it stands. It is a constant, so that nothing from outside can be markup.
    pub(super) fn markup(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// Text, in an element or between double quotes.
    pub(super) fn text(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c => self.0.push(c),
            }
        }
    }

    /// A row of a table: cells of text, each with the start tag that it stands in.
    pub(super) fn row(&mut self, cells: &[(&'static str, Cow<'_, str>)]) {
        self.markup("<tr>");
        for (start, text) in cells {
            self.markup(start);
            self.text(text);
        }
        self.markup("</tr>\n");
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        let mut html = Html::default();
        html.markup("<p title=\"");
        html.text("\"><script>alert('&amp;')</script>");
        html.markup("\">");
        assert_eq!(
            html.finish(),
            "<p title=\"&quot;&gt;&lt;script&gt;alert(&#39;&amp;amp;&#39;)&lt;/script&gt;\">"
        );
        let mut html = Html::default();
        html.row(&[("<th>", "a<b".into()), ("<td>", "ä\u{1f600}".into())]);
        assert_eq!(html.finish(), "<tr><th>a&lt;b<td>ä\u{1f600}</tr>\n");
    }
}
