/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Packet headers as they stand on the wire. Members of type __be16 and __be32 are in network order. The structs are not
 * packed: their members are naturally aligned within them, and the kernel lets XDP read a packet at any alignment on the
 * machines where it says so (x86-64, arm64); "packed" would make clang 14 read byte by byte.
 */
#ifndef XDPWALL_NET_H
#define XDPWALL_NET_H

#define from_be16(x) ((u16)__builtin_bswap16(x))
#define from_be32(x) ((u32)__builtin_bswap32(x))
#define to_be16(x) ((__be16)__builtin_bswap16(x))
#define to_be32(x) ((__be32)__builtin_bswap32(x))

#define ETH_HEADER 14
#define ETH_IPV4 to_be16(0x0800)
#define ETH_IPV6 to_be16(0x86dd)
#define ETH_VLAN to_be16(0x8100)
#define ETH_QINQ to_be16(0x88a8)
#define ETH_QINQ_OLD to_be16(0x9100)

#define PROTO_HOP_BY_HOP 0
#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_ROUTING 43
#define PROTO_FRAGMENT 44
#define PROTO_AH 51
#define PROTO_ICMPV6 58
#define PROTO_DEST_OPTIONS 60

struct eth_header {
    u8 target[6];
    u8 source[6];
    __be16 type;
};

struct vlan_tag {
    __be16 control;
    __be16 type; /* of what follows */
};

struct ipv4_header {
    u8 version_length; /* 4 bits each; the length in units of 4 bytes */
    u8 service;
    __be16 total_length;
    __be16 id;
    __be16 fragment; /* 3 bits of flags, 13 of offset in units of 8 bytes */
    u8 ttl;
    u8 protocol;
    __be16 checksum;
    __be32 source;
    __be32 target;
};

#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_OFFSET 0x1fff

struct ipv6_header {
    u8 version_class;
    u8 class_flow;
    __be16 flow;
    __be16 payload_length;
    u8 next;
    u8 hop_limit;
    __be32 source[4];
    __be32 target[4];
};

/* What all extension headers begin with. */
struct extension_header {
    u8 next;
    u8 length; /* units of 8 bytes beyond the first 8; AH: units of 4 bytes beyond the first 8 */
    u8 type;   /* routing header only */
    u8 rest[5];
};

struct fragment_header {
    u8 next;
    u8 reserved;
    __be16 offset; /* 13 bits of offset in units of 8 bytes, 2 reserved, 1 "more" */
    __be32 id;
};

#define IPV6_OFFSET 0xfff8
#define IPV6_MORE_FRAGMENTS 1

struct tcp_header {
    __be16 source;
    __be16 target;
    __be32 sequence;
    __be32 acknowledgement;
    u8 length; /* upper 4 bits, units of 4 bytes */
    u8 flags;
    __be16 window;
    __be16 checksum;
    __be16 urgent;
};

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_ACK 0x10
#define TCP_URG 0x20
#define TCP_ECE 0x40
#define TCP_CWR 0x80

struct udp_header {
    __be16 source;
    __be16 target;
    __be16 length;
    __be16 checksum;
};

struct icmp_header {
    u8 type;
    u8 code;
    __be16 checksum;
    __be32 rest;
};

#define ICMP_ECHO_REPLY 0
#define ICMP_UNREACHABLE 3
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER 12
#define ICMPV6_ECHO 128
#define ICMPV6_ECHO_REPLY 129

#define ND_ROUTER_SOLICIT 133 /* to 137, redirect: neighbour discovery */
#define ND_REDIRECT 137
#define DHCP_SERVER to_be16(67)
#define DHCP_CLIENT to_be16(68)

#endif
