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
    u32 index = (protocol == PROTO_UDP) << 13 | (port & 0xffff) >> 3;
    u64 *word = ports.lookup(&index);
    return word ? (*word >> ((port & 7) << 3)) & 0xff : PORT_LISTENS;
}

#endif
