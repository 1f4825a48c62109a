//! The search for orphaned multipart uploads.

use std::time::Duration;

use longshore::store::{OrphanSettings, Orphans};

use crate::scripted::{Scripted, error, reply, store};

const DAY: Duration = Duration::from_hours(24);
/// The server's clock, which is far from this machine's.
const NOW: (&str, &str) = ("date", "Sat, 10 Jan 2026 00:00:00 GMT");

fn page(uploads: &[(&str, &str, &str)], next: Option<(&str, &str)>) -> String {
    let uploads: String = uploads
        .iter()
        .map(|(key, id, at)| {
            format!("<Upload><Key>p/{key}</Key><UploadId>{id}</UploadId><Initiated>{at}</Initiated></Upload>")
        })
        .collect();
    let next = next.map_or(String::new(), |(key, id)| {
        format!("<IsTruncated>true</IsTruncated><NextKeyMarker>p/{key}</NextKeyMarker><NextUploadIdMarker>{id}</NextUploadIdMarker>")
    });
    format!("<ListMultipartUploadsResult>{next}{uploads}</ListMultipartUploadsResult>")
}

async fn search(server: &Scripted, abort: bool) -> Orphans {
    let mut settings = server.settings();
    settings.prefix = "p/".to_owned();
    let orphans = OrphanSettings { age: 7 * DAY, abort };
    let mut found = Orphans::default();
    store(settings).search_orphans(orphans, &mut found).await.unwrap();
    found
}

fn part(written: &str) -> String {
    format!("<Part><PartNumber>1</PartNumber><ETag>e</ETag><Size>5242880</Size>{written}</Part>")
}

fn parts(upload_id: &str) -> String {
    let parts = match upload_id {
        "u1" => part("<LastModified>2026-01-03T00:00:00.000Z</LastModified>"),
        // Started long ago, but still receives parts.
        "u6" => part("<LastModified>2026-01-09T23:00:00.000Z</LastModified>"),
        "u7" => part(""),
        _ => String::new(),
    };
    format!("<ListPartsResult><IsTruncated>false</IsTruncated>{parts}</ListPartsResult>")
}

/// A server with two pages of uploads. The first has an old upload, one that is too young and one of unknown age. The
/// second has five old uploads, of which one still receives parts and two others may.
async fn server(clock: &'static [(&str, &str)]) -> Scripted {
    Scripted::start(move |_, seen| match (seen.method.as_str(), seen.target.contains("key-marker=p%2Fc")) {
        ("GET", _) if seen.target.contains("uploadId=u8") => error(403, "AccessDenied"),
        ("GET", _) if seen.target.contains("uploadId=") => {
            let (_, id) = seen.target.split_once("uploadId=").unwrap();
            reply(200, clock, &parts(id.split('&').next().unwrap()))
        }
        ("DELETE", _) if seen.target.contains("u4") => error(403, "AccessDenied"),
        ("DELETE", _) => reply(204, &[], ""),
        (_, false) => {
            let uploads = [
                ("a", "u1", "2026-01-03T00:00:00.000Z"),
                ("b", "u2", "2026-01-03T00:00:01.000Z"),
                ("c", "u3", "no date"),
            ];
            reply(200, clock, &page(&uploads, Some(("c", "u3"))))
        }
        (_, true) => {
            let uploads = [
                ("d", "u4", "2026-01-01T00:00:00.000Z"),
                ("e", "u5", "2026-01-02T00:00:00.000Z"),
                ("f", "u6", "2026-01-02T00:00:00.000Z"),
                ("g", "u7", "2026-01-02T00:00:00.000Z"),
                ("h", "u8", "2026-01-02T00:00:00.000Z"),
            ];
            reply(200, clock, &page(&uploads, None))
        }
    })
    .await
}

#[tokio::test]
async fn a_dry_run_finds_old_uploads_and_changes_nothing() {
    let server = server(&[NOW]).await;
    let orphans = search(&server, false).await;
    assert_eq!((orphans.found, orphans.aborted, orphans.unknown), (3, 0, 2));
    let oldest = orphans.oldest.unwrap();
    assert_eq!((oldest.key.as_str(), oldest.s3_upload_id.as_str()), ("d", "u4"));
    let lines = server.lines();
    assert!(lines.iter().all(|line| line.starts_with("GET ")), "{lines:?}");
    let lines: Vec<_> = lines.into_iter().filter(|line| !line.contains("uploadId=")).collect();
    assert!(
        lines.iter().all(|line| line.starts_with("GET /b?") && line.contains("prefix=p%2F")),
        "{lines:?}"
    );
    assert!(lines[1].contains("upload-id-marker=u3"), "{lines:?}");
}

#[tokio::test]
async fn a_failed_abort_does_not_prevent_the_others() {
    let server = server(&[NOW]).await;
    let orphans = search(&server, true).await;
    assert_eq!((orphans.found, orphans.aborted), (3, 2));
    let mut aborted: Vec<_> = server.lines().into_iter().filter(|line| line.starts_with("DELETE")).collect();
    aborted.sort();
    let of = |key: &str, id: &str| format!("DELETE /b/p/{key}?uploadId={id}");
    assert_eq!(aborted, [of("a", "u1"), of("d", "u4"), of("e", "u5")]);
}

#[tokio::test]
async fn ages_are_measured_by_the_servers_clock_only() {
    // By this machine's clock all of them are old.
    let clocks: [(&[(&str, &str)], u64); 3] = [
        (&[("date", "Fri, 09 Jan 2026 00:00:00 GMT")], 2),
        (&[("date", "Thu, 01 Jan 1970 00:00:00 GMT")], 0),
        (&[], 0),
    ];
    for (clock, found) in clocks {
        let server = server(clock).await;
        assert_eq!(search(&server, true).await.found, found, "{clock:?}");
    }
}

#[tokio::test]
async fn what_was_found_is_kept_where_the_search_fails() {
    let server = Scripted::start(|_, seen| match seen.target.contains("key-marker") {
        _ if seen.method == "DELETE" => reply(204, &[], ""),
        _ if seen.target.contains("uploadId=") => reply(200, &[NOW], &parts("u1")),
        false => reply(200, &[NOW], &page(&[("a", "u1", "2026-01-01T00:00:00.000Z")], Some(("a", "u1")))),
        true => error(403, "AccessDenied"),
    })
    .await;
    let mut found = Orphans::default();
    let mut settings = server.settings();
    settings.prefix = "p/".to_owned();
    let orphans = OrphanSettings { age: 7 * DAY, abort: true };
    store(settings).search_orphans(orphans, &mut found).await.unwrap_err();
    assert_eq!((found.found, found.aborted), (1, 1));
}
