/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Packet headers as the generators write them. Multi-byte fields are in network order. */
#ifndef XDPWALL_LAB_HEADERS_H
#define XDPWALL_LAB_HEADERS_H

#define ETHER_IPV4 0x0800
#define ETHER_IPV6 0x86dd
#define IP_TCP 6
#define IP_UDP 17
#define IP_DONT_FRAGMENT 0x4000
#define TCP_SYN 0x02
#define TCP_ACK 0x10

/* bcc 0.26 cannot call a function of ours: everything is put in place. */
#define INLINE static inline __attribute__((always_inline))

/* The machines that bcc and this lab run on are little-endian. */
#define bswap16(x) ((__u16)__builtin_bswap16(x))
#define bswap32(x) ((__u32)__builtin_bswap32(x))

struct ethernet_header {
    __u8 target[6];
    __u8 source[6];
    __u16 type;
};

struct ipv4_header {
    __u8 version_length;
    __u8 service;
    __u16 total_length;
    __u16 id;
    __u16 fragment;
    __u8 ttl;
    __u8 protocol;
    __u16 checksum;
    __u32 source;
    __u32 target;
};

struct ipv6_header {
    __u32 version_flow;
    __u16 payload_length;
    __u8 next_header;
    __u8 hop_limit;
    __u32 source[4];
    __u32 target[4];
};

struct udp_header {
    __u16 source;
    __u16 target;
    __u16 length;
    __u16 checksum;
};

struct tcp_header {
    __u16 source;
    __u16 target;
    __u32 sequence;
    __u32 acknowledged;
    __u16 offset_flags; /* 4 bits header length in words, 12 bits flags */
    __u16 window;
    __u16 checksum;
    __u16 urgent;
};

#endif
