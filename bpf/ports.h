/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What is known of a local port.
 */
#ifndef XDPWALL_PORTS_H
#define XDPWALL_PORTS_H

#define PORT_LISTENS 0x80
#define PORT_ADMIN 0x40
#define PORT_BUDGET 0x3f

/* The port's byte, see the map. port: host order. */
INLINE u64 port_info(u64 protocol, u64 port)
{
    u64 eight = bounded(port >> 3, 0x1fff);
    u64 word = WHOLE(u64, AT_PORTS)[((u64)(protocol == PROTO_UDP) << 13) + eight];
    return (word >> ((port & 7) << 3)) & 0xff;
}

#endif
