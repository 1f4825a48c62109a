//! Addresses that belong to this machine or to the cloud that it runs in, such as those of metadata services. What they
//! answer depends on who asks, so a server must not ask for others.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use http::Uri;

use crate::settings::UNTRUSTED;

/// Metadata services of clouds, at addresses that are not link-local: Azure, Alibaba Cloud and Oracle Cloud.
const METADATA: [Ipv4Addr; 3] =
    [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];

/// Metadata services at IPv6 addresses that are not link-local: Google Cloud's, Scaleway's, Oracle Cloud's, Akamai's and
/// Alibaba Cloud's. AWS has a prefix of its own.
const METADATA_V6: [Ipv6Addr; 5] = [
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
    Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200),
];

/// Whether the address is this machine's (loopback, unspecified), link-local, or that of a metadata service.
pub(super) fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_local_v4(v4),
        IpAddr::V6(v6) => is_local_v6(v6),
    }
}

/// The error of a connection to a host that has only such addresses.
pub(super) fn refused(host: &str) -> io::Error {
    let text = format!("{host} is this machine, link-local or a metadata service, {UNTRUSTED}");
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}

/// The address that the host of a URL is written as, if it is not a name.
pub(super) fn literal_address(uri: &Uri) -> Option<IpAddr> {
    uri.host()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn is_local_v4(address: Ipv4Addr) -> bool {
    address.is_loopback()
        || address.is_link_local()
        // Linux takes 0.0.0.0 for this machine; RFC 1122, section 3.2.1.3, reserves the whole block.
        || address.octets()[0] == 0
        || METADATA.contains(&address)
}

fn is_local_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // RFC 6052: IPv4 addresses behind a NAT64. RFC 4291, section 2.5.5.1: IPv4-compatible addresses.
    let embeds_v4 = segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0] || segments[..6] == [0; 6];
    let [.., a, b, c, d] = address.octets();
    address.is_loopback()
        || address.is_unspecified()
        || address.is_unicast_link_local()
        // AWS's metadata services: fd00:ec2::254, fd00:ec2::23 and others.
        || segments[..2] == [0xfd00, 0xec2]
        || METADATA_V6.contains(&address)
        // RFC 8215: the local-use prefix of NAT64. Where in it the IPv4 address is depends on the network.
        || segments[..3] == [0x64, 0xff9b, 1]
        || (embeds_v4 && is_local_v4(Ipv4Addr::new(a, b, c, d)))
}

/// Whether the host of a URL is certainly local, or is written so that resolvers may take it for such an address. A name
/// can still resolve to one: see `Resolver`. A URL without a host counts as local.
pub(crate) fn names_local_host(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return true };
    if let Some(address) = literal_address(&uri) {
        return is_local(address);
    }
    let host = uri.host().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    let last = host.rsplit('.').next().unwrap_or_default();
    // `2852039166`, `0xa9fea9fe` and `169.254.43518` are IPv4 addresses for inet_aton(3). With the bucket in front of it,
    // `254.169.254` becomes one.
    let is_number = last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit());
    is_number
        || last == "localhost"
        || host == "metadata.google.internal"
        || host == "instance-data.ec2.internal"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_and_of_metadata_services_are_local() {
        for local in [
            "127.0.0.1",
            "127.8.9.10",
            "0.0.0.0",
            "169.254.169.254",
            "169.254.170.2",
            "169.254.170.23",
            "100.100.100.200",
            "168.63.129.16",
            "::",
            "::1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "fe80::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fd00:42::42",
            "fd00:c1::a9fe:a9fe",
            "fd00:a9fe:a9fe::1",
            "fd00:100::100:200",
            "64:ff9b:1:0:a9:fea9:fe00:0",
        ] {
            assert!(is_local(local.parse().unwrap()), "{local}");
        }
        for other in ["10.0.0.1", "192.168.1.1", "52.216.0.1", "fd00::1", "2600:1f60::1", "64:ff9b::a00:1"] {
            assert!(!is_local(other.parse().unwrap()), "{other}");
        }
    }

    #[test]
    fn urls_of_local_hosts_are_recognized_however_they_are_written() {
        for local in [
            "http://127.0.0.1:9000",
            "http://169.254.169.254/latest",
            "http://[fd00:ec2::254]/",
            "http://[::ffff:7f00:1]/",
            "http://LOCALHOST:80",
            "http://a.localhost.",
            "http://2852039166/",
            "http://0xA9FEA9FE/",
            "http://0251.0376.0251.0376/",
            "http://169.254.43518/",
            "http://254.169.254/",
            "http://metadata.google.internal/",
            "unix:/run/socket",
            "/path",
            "",
        ] {
            assert!(names_local_host(local), "{local}");
        }
        for other in [
            "https://s3.example.com",
            "http://10.0.0.1:9000",
            "http://minio.storage.svc:9000/x",
            "http://s3-1",
        ] {
            assert!(!names_local_host(other), "{other}");
        }
    }
}
