//! Naive readers of whole messages, written from RFC 9112 alone: slow, short and strict.

use auth_proxy::testing::fields;

/// Header fields: lower-case names and values. Those of one name keep their order.
pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// These fields, sorted by name.
pub(crate) fn fields(those: &fields::Fields) -> Fields {
    let field = |(name, value): (&[u8], &[u8])| (name.to_ascii_lowercase(), value.to_vec());
    let mut fields: Fields = those.iter().map(field).collect();
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    fields
}

/// A request head.
#[derive(Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) method: Vec<u8>,
    /// In origin form.
    pub(crate) target: Vec<u8>,
    pub(crate) is_http_10: bool,
    /// Sorted by their lower-case names.
    pub(crate) fields: Fields,
    /// None for chunks.
    pub(crate) length: Option<u64>,
}

/// Reads a head that ends with its empty line; none when it must be refused.
pub(crate) fn request(head: &[u8]) -> Option<Request> {
    let mut lines = split(head, b"\r\n");
    // The empty line, and what split says is after it.
    if lines.pop()? != b"" || lines.pop()? != b"" {
        return None;
    }
    let first = lines.iter().position(|line| !line.is_empty())?;
    let [method, target, version] = split(lines[first], b" ")[..] else { return None };
    let is_http_10 = match version {
        b"HTTP/1.0" => true,
        b"HTTP/1.1" => false,
        _ => return None,
    };
    let is_refused = [&b"CONNECT"[..], b"TRACE"].contains(&method);
    if !is_token(method) || is_refused || target.iter().any(|b| *b <= b' ' || *b == 0x7f) {
        return None;
    }
    std::str::from_utf8(target).ok()?;
    let mut fields: Fields = lines[first + 1..].iter().map(|line| field(line)).collect::<Option<_>>()?;
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    if fields.len() > 128 {
        return None;
    }
    let all = |wanted: &[u8]| -> Vec<&[u8]> {
        fields.iter().filter(|(name, _)| name == wanted).map(|(_, value)| &value[..]).collect()
    };
    let host = match all(b"host")[..] {
        [host] if is_authority(host) => Some(host),
        [] if is_http_10 => None,
        _ => return None,
    };
    let length = match (&all(b"transfer-encoding")[..], &all(b"content-length")[..]) {
        ([], []) => Some(0),
        ([], [digits]) if digits.iter().all(u8::is_ascii_digit) => {
            Some(std::str::from_utf8(digits).ok()?.parse().ok()?)
        }
        ([coding], []) if !is_http_10 && coding.eq_ignore_ascii_case(b"chunked") => None,
        _ => return None,
    };
    let target = origin_form(method, target, host)?;
    Some(Request { method: method.to_vec(), target, is_http_10, fields, length })
}

fn origin_form(method: &[u8], target: &[u8], host: Option<&[u8]>) -> Option<Vec<u8>> {
    if target.starts_with(b"/") || (method, target) == (b"OPTIONS", b"*") {
        return Some(target.to_vec());
    }
    let lower = target.to_ascii_lowercase();
    let scheme = [&b"http://"[..], b"https://"].into_iter().find(|scheme| lower.starts_with(scheme))?;
    let rest = &target[scheme.len()..];
    let end = rest.iter().position(|b| b"/?".contains(b)).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    // RFC 9110 section 4.2.3: without the port that goes with the scheme, in lower case.
    let default_port: &[u8] = if scheme.len() == 7 { b"80" } else { b"443" };
    let normal = |authority: &[u8]| {
        let port = authority.iter().rposition(|b| *b == b':').filter(|at| !authority[*at..].contains(&b']'));
        let (host, port) = authority.split_at(port.unwrap_or(authority.len()));
        let digits: Vec<u8> = port.iter().skip(1).copied().skip_while(|b| *b == b'0').collect();
        let zero = port.len() > 1 && digits.is_empty();
        let port = if zero {
            b"0".to_vec()
        } else if digits.is_empty() {
            default_port.to_vec()
        } else {
            digits
        };
        (host.to_ascii_lowercase(), port)
    };
    if !is_authority(authority) || host.is_some_and(|host| normal(authority) != normal(host)) {
        return None;
    }
    let slash: &[u8] = if path.starts_with(b"/") { b"" } else { b"/" };
    Some([slash, path].concat())
}

/// RFC 3986 sections 3.2.2 and 3.2.3, from the end: a port, if there is a colon that can begin one, then a host.
fn is_authority(authority: &[u8]) -> bool {
    let port = authority.iter().rposition(|b| *b == b':').filter(|at| !authority[*at..].contains(&b']'));
    let (host, port) = authority.split_at(port.unwrap_or(authority.len()));
    let number = port.iter().skip(1).try_fold(0, |number: u32, b| {
        let digit = char::from(*b).to_digit(10)?;
        Some(number * 10 + digit).filter(|number| *number < 1 << 16)
    });
    let is_host = match host {
        [b'[', address @ .., b']'] => is_ipv6(address),
        name => {
            let escapes = split(name, b"%");
            let in_name = |b: &u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(b);
            let is_escaped = |part: &&[u8]| part.len() >= 2 && part[..2].iter().all(u8::is_ascii_hexdigit);
            !name.is_empty()
                && name.iter().all(|b| in_name(b) || *b == b'%')
                && escapes[1..].iter().all(is_escaped)
        }
    };
    number.is_some() && is_host
}

/// Eight groups of up to four digits; an IPv4 address for the last two; `::` for one group or more.
fn is_ipv6(address: &[u8]) -> bool {
    let halves = split(address, b"::");
    let groups = |half: &&[u8], last: bool| -> Option<usize> {
        let parts = if half.is_empty() { Vec::new() } else { split(half, b":") };
        let group = |(i, part): (usize, &&[u8])| match part.len() {
            1..=4 if part.iter().all(u8::is_ascii_hexdigit) => Some(1),
            _ if last && i + 1 == parts.len() && is_ipv4(part) => Some(2),
            _ => None,
        };
        parts.iter().enumerate().map(group).sum()
    };
    match &halves[..] {
        [all] => groups(all, true) == Some(8),
        [first, second] => {
            groups(first, false).zip(groups(second, true)).is_some_and(|(first, second)| first + second < 8)
        }
        _ => false,
    }
}

fn is_ipv4(address: &[u8]) -> bool {
    let is_octet = |part: &&[u8]| {
        let number = part.iter().try_fold(0, |number, b| Some(number * 10 + char::from(*b).to_digit(10)?));
        (1..=3).contains(&part.len())
            && number.is_some_and(|n| n < 256)
            && (part.len() == 1 || part[0] != b'0')
    };
    let parts = split(address, b".");
    parts.len() == 4 && parts.iter().all(is_octet)
}

fn field(line: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let colon = line.iter().position(|b| *b == b':')?;
    let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
    let legal = is_token(name) && value.iter().all(|b| *b == b'\t' || *b >= b' ' && *b != 0x7f);
    legal.then(|| (name.to_ascii_lowercase(), value.to_vec()))
}

/// How a body in chunks ends.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum End {
    /// So many bytes belong to it.
    Whole(usize),
    /// More should follow.
    Cut,
    Wrong,
}

/// The bytes of a body in chunks, as far as they are there, and how it ends. Extensions and trailers may take `allowance`
/// bytes, and each byte of data earns two more, up to that.
pub(crate) fn chunks(data: &[u8], allowance: usize) -> (Vec<u8>, End) {
    let mut body = Vec::new();
    let mut reader = Reader { rest: data, left: allowance, allowance };
    let end = reader.body(&mut body).err().unwrap_or_else(|| End::Whole(data.len() - reader.rest.len()));
    (body, end)
}

/// Reads a grammar from left to right. The end of the input is a cut wherever it comes, what does not fit is wrong.
struct Reader<'a> {
    rest: &'a [u8],
    left: usize,
    allowance: usize,
}

impl Reader<'_> {
    fn body(&mut self, body: &mut Vec<u8>) -> Result<(), End> {
        loop {
            let size = self.size()?;
            self.extension()?;
            self.expect(b"\r\n")?;
            if size == 0 {
                break;
            }
            for _ in 0..size {
                body.push(self.next()?);
                self.left = (self.left + 2).min(self.allowance);
            }
            self.expect(b"\r\n")?;
        }
        while self.peek()? != b'\r' {
            let mut name = Vec::new();
            while self.peek()? != b':' || name.is_empty() {
                name.push(self.spend()?);
                if !is_token(&name) {
                    return Err(End::Wrong);
                }
            }
            self.spend()?;
            self.text()?;
            self.expect(b"\r\n")?;
        }
        self.expect(b"\r\n")
    }

    fn size(&mut self) -> Result<u64, End> {
        let mut digits = String::new();
        while self.peek()?.is_ascii_hexdigit() {
            digits.push(char::from(self.next()?));
            if digits.len() > 16 {
                return Err(End::Wrong);
            }
        }
        u64::from_str_radix(&digits, 16).map_err(|_| End::Wrong)
    }

    fn extension(&mut self) -> Result<(), End> {
        let mut padded = false;
        while matches!(self.peek()?, b' ' | b'\t') {
            self.spend()?;
            padded = true;
        }
        match self.peek()? {
            b';' => self.text(),
            _ if padded => Err(End::Wrong),
            _ => Ok(()),
        }
    }

    /// Up to a line end.
    fn text(&mut self) -> Result<(), End> {
        while self.peek()? != b'\r' {
            if !is_text(&self.spend()?) {
                return Err(End::Wrong);
            }
        }
        Ok(())
    }

    fn expect(&mut self, bytes: &[u8]) -> Result<(), End> {
        for byte in bytes {
            if self.next()? != *byte {
                return Err(End::Wrong);
            }
        }
        Ok(())
    }

    fn peek(&self) -> Result<u8, End> {
        self.rest.first().copied().ok_or(End::Cut)
    }

    fn next(&mut self) -> Result<u8, End> {
        let byte = self.peek()?;
        self.rest = &self.rest[1..];
        Ok(byte)
    }

    fn spend(&mut self) -> Result<u8, End> {
        let byte = self.next()?;
        self.left = self.left.checked_sub(1).ok_or(End::Wrong)?;
        Ok(byte)
    }
}

/// A response head at the start of these bytes: its status, its fields sorted by name, and how long it is; none when there
/// is none that may be read.
pub(crate) fn response(data: &[u8]) -> Option<(u16, Fields, usize)> {
    let mut rest = data;
    while let Some(after) = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n")) {
        rest = after;
    }
    let mut line = || {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        rest = &rest[end + 1..];
        Some(line)
    };
    let status = line()?;
    let digits = status.strip_prefix(b"HTTP/1.1 ").or_else(|| status.strip_prefix(b"HTTP/1.0 "))?;
    let (digits, reason) = digits.split_at_checked(3)?;
    let is_reason = reason.is_empty() || reason.starts_with(b" ") && reason.iter().all(is_text);
    let status: u16 = std::str::from_utf8(digits).ok()?.parse().ok().filter(|status| *status >= 100)?;
    if !is_reason || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut fields = Fields::new();
    loop {
        let line = line()?;
        if line.is_empty() {
            fields.sort_by(|one, other| one.0.cmp(&other.0));
            return (fields.len() <= 128).then(|| (status, fields, data.len() - rest.len()));
        }
        let colon = line.iter().position(|byte| *byte == b':')?;
        fields.push(
            field(&[trim(&line[..colon]), &line[colon..]].concat())
                .filter(|_| !line[0].is_ascii_whitespace())?,
        );
    }
}

fn is_text(byte: &u8) -> bool {
    *byte == b'\t' || !byte.is_ascii_control()
}

pub(crate) fn is_token(bytes: &[u8]) -> bool {
    let in_token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    !bytes.is_empty() && bytes.iter().all(in_token)
}

/// Without spaces and tabs at both ends.
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// As `str::split`, of bytes by bytes.
pub(crate) fn split<'a>(bytes: &'a [u8], by: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(by.len()).position(|window| window == by) {
        parts.push(&rest[..at]);
        rest = &rest[at + by.len()..];
    }
    parts.push(rest);
    parts
}
