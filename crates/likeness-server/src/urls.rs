//! Paths and headers that carry text which users gave.

/// Percent-encodes `text` as one path segment or query value: everything but letters, digits and
/// `-._~`.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 15] {
                out.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
            }
        }
    }
    out
}

/// Page of an image.
pub(crate) fn image_page(id: &str) -> String {
    format!("/images/{}", encode(id))
}

/// Page of a cluster.
pub(crate) fn cluster_page(head: &str) -> String {
    format!("/clusters/{}", encode(head))
}

/// Page of a bank.
pub(crate) fn bank_page(name: &str) -> String {
    format!("/banks/{}", encode(name))
}

/// Page of a job.
pub(crate) fn job_page(name: &str) -> String {
    format!("/jobs/{}", encode(name))
}

/// A small JPEG of a bank's reference.
pub(crate) fn reference_thumbnail(bank: &str, sha256: &str) -> String {
    format!(
        "/v1/banks/{}/references/{}/thumbnail",
        encode(bank),
        encode(sha256)
    )
}

/// The bytes of an image.
pub(crate) fn file(id: &str) -> String {
    format!("/v1/images/{}/file", encode(id))
}

/// A small JPEG of an image.
pub(crate) fn thumbnail(id: &str) -> String {
    format!("/v1/images/{}/thumbnail", encode(id))
}

/// Returns a `Content-Disposition` that shows the file and offers to save it as `name`.
///
/// The plain form has only letters that cannot end the quoted string or name a folder; the encoded
/// form (RFC 8187) carries the rest.
pub(crate) fn content_disposition(name: &str, extension: &str) -> String {
    let stem = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let has_extension = stem
        .rsplit_once('.')
        .is_some_and(|(_, tail)| !tail.is_empty() && tail.len() <= 5);
    let full = if has_extension {
        stem.to_owned()
    } else {
        format!("{stem}.{extension}")
    };
    let plain: String = full
        .chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_' | ' ' => c,
            _ => '_',
        })
        .collect();
    format!(
        "inline; filename=\"{plain}\"; filename*=UTF-8''{}",
        encode(&full)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_byte_of_an_id_is_encoded() {
        assert_eq!(
            encode("a b?c#d%e&f\"<ü"),
            "a%20b%3Fc%23d%25e%26f%22%3C%C3%BC"
        );
        assert_eq!(encode("IMG_01-2.x~"), "IMG_01-2.x~");
    }

    #[test]
    fn a_file_name_cannot_leave_its_header_or_folder() {
        let hostile = content_disposition("../../x\"; evil=\"y\r\nSet-Cookie: a", "png");
        assert!(!hostile.contains(['\r', '\n']));
        assert_eq!(hostile.matches('"').count(), 2);
        assert!(!hostile.contains(".."), "{hostile}");
        assert_eq!(
            content_disposition("Grüße", "jpg"),
            "inline; filename=\"Gr__e.jpg\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe.jpg"
        );
        assert!(content_disposition("cat.jpeg", "jpg").contains("\"cat.jpeg\""));
    }
}
