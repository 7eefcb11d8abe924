//! Parenthesised lists: items between commas, with quotes and inner parentheses respected.

use std::borrow::Cow;

/// The items of `(a,b,"c,d",and(e,f))`, as they stand. `None` if parentheses or quotes do not close.
pub(super) fn split_list(list: &str) -> Option<Vec<&str>> {
    let inner = list.strip_prefix('(')?.strip_suffix(')')?;
    let (mut items, mut start, mut depth, mut quoted, mut escaped) = (Vec::new(), 0, 0_usize, false, false);
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'(' => depth += 1,
            b')' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => {
                items.push(&inner[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push(&inner[start..]);
    (depth == 0 && !quoted).then_some(items)
}

/// A value of a list: as it stands, or without its quotes and their escapes.
pub(super) fn unquote(item: &str) -> Option<Cow<'_, str>> {
    let Some(inner) = item.strip_prefix('"') else {
        return (!item.contains('"')).then_some(Cow::Borrowed(item));
    };
    let inner = inner.strip_suffix('"')?;
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.push(characters.next()?),
            '"' => return None,
            other => text.push(other),
        }
    }
    Some(Cow::Owned(text))
}
