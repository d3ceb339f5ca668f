//! Addresses and networks of users.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// True if the address is in one of the networks, or if there are none, which means any.
pub fn in_networks(networks: &[IpNet], address: IpAddr) -> bool {
    networks.is_empty() || networks.iter().any(|network| network.contains(&address))
}

/// The /24 (IPv4) or /56 (IPv6) of an address.
pub fn prefix_of(address: IpAddr) -> IpNet {
    let bits = if address.is_ipv4() { 24 } else { 56 };
    IpNet::new(address, bits).map_or_else(|_| IpNet::from(address), |network| network.trunc())
}

/// True if both addresses are in the same /24 (IPv4) or /56 (IPv6).
pub fn same_prefix(one: IpAddr, other: IpAddr) -> bool {
    prefix_of(one).contains(&other)
}

/// Parses an address with or without port, brackets or zone. IPv4-mapped IPv6 becomes IPv4.
pub fn parse_address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let without_zone = || {
        let (address, _zone) = text.split_once('%')?;
        address.trim_start_matches('[').parse().ok()
    };
    bare.or_else(with_port).or_else(in_brackets).or_else(without_zone).map(|address: IpAddr| address.to_canonical())
}

/// Parses a network (CIDR), or an address as a network of its own.
pub fn parse_network(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    network.map(|network| network.trunc())
}

/// The entries of a comma-separated list of networks.
pub fn list_entries(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter(|network| !network.is_empty())
}

/// Parses a comma-separated list of networks.
pub fn parse_list(list: &str) -> Result<Box<[IpNet]>, ipnet::AddrParseError> {
    list_entries(list).map(str::parse).collect()
}

/// Prints a comma-separated list of networks.
pub fn print_list(networks: &[IpNet]) -> String {
    networks.iter().map(IpNet::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_the_forms_that_services_have_them_in() {
        let v4: IpAddr = "192.0.2.7".parse().unwrap();
        let v6: IpAddr = "2001:db8::7".parse().unwrap();
        for text in ["192.0.2.7", " 192.0.2.7 ", "192.0.2.7:443", "::ffff:192.0.2.7", "[::ffff:192.0.2.7]:443"] {
            assert_eq!(parse_address(text), Some(v4), "{text}");
        }
        for text in ["2001:db8::7", "[2001:db8::7]", "[2001:db8::7]:443", "2001:db8::7%eth0", "[2001:db8::7%2]:443"] {
            assert_eq!(parse_address(text), Some(v6), "{text}");
        }
        for text in ["localhost", "192.0.2.7, 192.0.2.8", "999.0.0.1", "192.0.2.7/24", "%", "[]"] {
            assert_eq!(parse_address(text), None, "{text}");
        }
    }

    #[test]
    fn a_list_of_networks_reads_back_as_printed() {
        let networks = ["10.1.2.3/8", "192.0.2.7", "2001:db8::/32"].map(|text| parse_network(text).unwrap());
        let list = print_list(&networks);
        assert_eq!(list, "10.0.0.0/8,192.0.2.7/32,2001:db8::/32");
        assert_eq!(*parse_list(&list).unwrap(), networks);
        assert!(parse_list("").unwrap().is_empty());
        assert!(parse_list("10.0.0.0/8,office").is_err());
        assert_eq!(parse_network("office"), None);
    }
}
