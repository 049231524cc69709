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
    REASONS_USED
};

/* From here on a reason means a drop. */
#define FIRST_DROP REASON_BANNED_SOURCE

/* Verdict counters an interface: room for reasons to come without a change of layout. */
#define REASON_SLOTS 64

#endif
