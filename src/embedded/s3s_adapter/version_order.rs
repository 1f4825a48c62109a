//! The order of a list of versions. s3s writes all versions before all delete markers; S3 mixes them.

use s3s::Body;

use super::super::received::VersionOrder;

const VERSION: (&str, &str) = ("<Version>", "</Version>");
const MARKER: (&str, &str) = ("<DeleteMarker>", "</DeleteMarker>");

/// Puts the elements of a list of versions into their order. s3s has written the document into memory.
pub(super) fn mixed(body: Body, order: &VersionOrder) -> Body {
    let xml = body.bytes().and_then(|xml| in_order(std::str::from_utf8(&xml).ok()?, order));
    xml.map_or(body, Body::from)
}

/// `None` if the document does not have these entries.
fn in_order(xml: &str, order: &VersionOrder) -> Option<String> {
    let (versions, markers) = (elements(xml, VERSION), elements(xml, MARKER));
    if versions.len() + markers.len() != order.0.len() {
        return None;
    }
    let mut all = [versions.clone(), markers.clone()].concat();
    all.sort_by_key(|range| range.start);
    let mut ordered = String::with_capacity(xml.len());
    ordered.push_str(&xml[..all.first()?.start]);
    let (mut versions, mut markers) = (versions.into_iter(), markers.into_iter());
    for is_marker in &order.0 {
        let next = if *is_marker { markers.next() } else { versions.next() };
        ordered.push_str(&xml[next?]);
    }
    // The rest of the document follows: s3s writes other elements between the two lists.
    for pair in all.windows(2) {
        ordered.push_str(&xml[pair[0].end..pair[1].start]);
    }
    ordered.push_str(&xml[all.last()?.end..]);
    Some(ordered)
}

/// Where the elements with these tags are. Keys cannot contain the tags, because they are escaped.
fn elements(xml: &str, (open, close): (&str, &str)) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = xml[at..].find(open).map(|start| at + start) {
        let Some(end) = xml[start..].find(close).map(|end| start + end + close.len()) else { break };
        found.push(start..end);
        at = end;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_put_into_the_order_of_the_versions() {
        let xml = "<L><DeleteMarker>3</DeleteMarker><N>b</N><Version>1</Version><Version>2</Version><P/></L>";
        let order = |order: &[bool]| in_order(xml, &VersionOrder(order.to_vec()));
        let expected =
            "<L><Version>1</Version><DeleteMarker>3</DeleteMarker><Version>2</Version><N>b</N><P/></L>";
        assert_eq!(order(&[false, true, false]).as_deref(), Some(expected));
        assert_eq!(order(&[false, true]), None, "an element would be lost");
        assert_eq!(order(&[true, true, false]), None);
        assert_eq!(in_order("<L></L>", &VersionOrder(Vec::new())), None);
    }
}
