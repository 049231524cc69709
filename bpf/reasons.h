/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Why a packet was passed or dropped: the append-only list that xdpwall/reasons.py and docs/reasons.md repeat. The
 * numbers index verdict counters that outlive an upgrade: never renumber or reuse one, add before REASONS_USED.
 */
#ifndef XDPWALL_REASONS_H
#define XDPWALL_REASONS_H

enum reason {
    REASON_PASS = 0,
    REASON_PASS_ALLOWED = 1,
    REASON_PASS_LINK = 2,
    REASON_PASS_NOT_IP = 3,
    REASON_BANNED_SOURCE = 4,
    REASON_BANNED_PREFIX = 5,
    REASON_TRUNCATED = 6,
    REASON_VLAN_DEPTH = 7,
    REASON_IP_HEADER = 8,
    REASON_IP_LENGTH = 9,
    REASON_SOURCE_IMPOSSIBLE = 10,
    REASON_SOURCE_OWN = 11,
    REASON_EXTENSION_CHAIN = 12,
    REASON_FRAGMENT = 13,
    REASON_TCP_HEADER = 14,
    REASON_TCP_FLAGS = 15,
    REASON_UDP_LENGTH = 16,
    REASON_ICMP_HEADER = 17,
    REASON_SOURCE_PPS = 18,
    REASON_SOURCE_BPS = 19,
    REASON_SOURCE_SYN = 20,
    REASON_PREFIX_PPS = 21,
    REASON_PREFIX_BPS = 22,
    REASON_PREFIX_SYN = 23,
    REASON_LANE_SYN = 24,
    REASON_LANE_TCP = 25,
    REASON_LANE_UDP = 26,
    REASON_LANE_ICMP = 27,
    REASON_LANE_FRAGMENT = 28,
    REASON_LANE_OTHER = 29,
    REASON_CLOSED_TCP = 30,
    REASON_CLOSED_UDP = 31,
    REASON_COOKIE_SENT = 32,
    REASON_FINGERPRINT = 33,
    REASON_PASS_FLOW = 34,
    REASON_PASS_SOLICITED = 35,
    REASON_PASS_PROVEN = 36,
    REASON_PASS_HANDSHAKE = 37,
    REASONS_USED
};

/* Of which reasons the packet passes, one bit each. All others mean a drop. */
#define PASSES                                                                                                   \
    (1ULL << REASON_PASS | 1ULL << REASON_PASS_ALLOWED | 1ULL << REASON_PASS_LINK | 1ULL << REASON_PASS_NOT_IP | \
     1ULL << REASON_PASS_FLOW | 1ULL << REASON_PASS_SOLICITED | 1ULL << REASON_PASS_PROVEN |                     \
     1ULL << REASON_PASS_HANDSHAKE)

/* Verdict counters an interface: room for reasons to come without a change of layout. */
#define REASON_SLOTS 64

#endif
