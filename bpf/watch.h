/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Quiet things that a flood must not hide: requests to closed ports and to admin ports, handshakes completed on admin
 * ports, flows that this host opens. Told to the controller one by one, at a bounded rate.
 *
 * A port tells at most once in WATCH_PORT_TICKS, so a flood on some ports cannot use up what a scan over others needs.
 * Each class has a ring of its own on each CPU, which only this CPU writes: logins are not lost to scans, and nothing is
 * shared. A reader that is late misses the oldest; the number in each event says so.
 */
#ifndef XDPWALL_WATCH_H
#define XDPWALL_WATCH_H

#define WATCH_CLASSES 4
#define WATCH_RING 512 /* a power of two; dataplane/watch.py has it, too */
/* So many events of a class on a CPU in 16 ticks, at most: 500 a second at 250 ticks a second. */
#define WATCH_WINDOW_SHIFT 4
#define WATCH_BURST 32
#define WATCH_PORT_TICKS 16

enum watch_class { WATCH_TRIED, WATCH_LOGIN, WATCH_OUTBOUND };
/* xdpwall/incident/diversion.py has the same numbers. */
enum watch_kind {
    WATCH_NOTHING = 0,
    WATCH_CLOSED = 1,
    WATCH_ADMIN = 2,
    WATCH_CLOSED_UDP = 3,
    WATCH_ADMIN_LOGIN = 4,
    WATCH_OPENED = 5,
    WATCH_OPENED_UDP = 6,
};

/* One event. Addresses in network order, IPv4 in the first four bytes; ports in host order. */
struct watch_event {
    u64 number; /* counts from 1 in its ring; written last */
    u32 tick;
    u16 local_port;
    u16 peer_port;
    u8 kind;
    u8 is_v6;
    u8 spare[6];
    u32 local[4];
    u32 peer[4];
    u64 spare2;
};

/* A ring's state: how many events it has told, and how many in which window of time. Alone in its cache line. */
struct watch_state {
    u64 told;
    u64 window;
    u64 in_window;
    u64 missed; /* not told, because there were too many */
    u64 spare[4];
};

/* Index: (cpu * WATCH_CLASSES + class) * WATCH_RING + number. mmap, the kernel writes. */
BPF_F_TABLE("array", u32, struct watch_event, watch_events, CPUS *WATCH_CLASSES *WATCH_RING, MMAP);
/* Index: cpu * WATCH_CLASSES + class. mmap, the kernel writes. */
BPF_F_TABLE("array", u32, struct watch_state, watch_states, CPUS *WATCH_CLASSES, MMAP);
/* Tick of each TCP or UDP port's last event, modulo 2^32. Index: the port. The kernel alone. */
BPF_F_TABLE("array", u32, u32, watch_ports, 65536, MMAP);

/* The next free place of a ring; 0 when there were too many events lately. Whoever gets it fills it and sets its number. */
INLINE struct watch_event *watch_place(u32 class, u64 now)
{
    u32 ring = bpf_get_smp_processor_id() * WATCH_CLASSES + class;
    struct watch_state *state = watch_states.lookup(&ring);
    if (!state)
        return 0;
    u64 window = now >> WATCH_WINDOW_SHIFT;
    if (state->window != window) {
        state->window = window;
        state->in_window = 0;
    }
    if (state->in_window >= WATCH_BURST) {
        state->missed++;
        return 0;
    }
    state->in_window++;
    u32 index = ring * WATCH_RING + (state->told & (WATCH_RING - 1));
    struct watch_event *event = watch_events.lookup(&index);
    if (event) {
        event->number = 0; /* a reader that meets it now knows that it is being written */
        event->tick = now;
        state->told++;
        event->spare2 = state->told;
    }
    return event;
}

/* addresses: the IP header at l3, as it came in (inbound) or as it goes out. */
INLINE void watch_addresses(struct watch_event *event, void *data, void *end, u32 l3, u64 is_v6, u64 inbound)
{
    u32 *local = inbound ? event->local : event->peer, *peer = inbound ? event->peer : event->local;
    event->is_v6 = is_v6;
    if (is_v6) {
        struct ipv6_header *ip = data + (l3 & 0x3f);
        if ((void *)(ip + 1) > end)
            return;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            peer[i] = ip->source[i];
            local[i] = ip->target[i];
        }
    } else {
        struct ipv4_header *ip = data + (l3 & 0x3f);
        if ((void *)(ip + 1) > end)
            return;
        peer[0] = ip->source;
        local[0] = ip->target;
    }
}

INLINE void watch_done(struct watch_event *event, enum watch_kind kind, u64 local_port, u64 peer_port)
{
    event->kind = kind;
    event->local_port = local_port;
    event->peer_port = peer_port;
    event->number = event->spare2;
}

/* A packet from outside that no list decided. info: what is known of its local port. */
INLINE void watch(struct packet *p, u64 info)
{
    enum watch_kind kind = WATCH_NOTHING;
    if (p->lane == LANE_SYN)
        kind = info & PORT_ADMIN ? WATCH_ADMIN : info & PORT_LISTENS ? WATCH_NOTHING : WATCH_CLOSED;
    else if (p->lane == LANE_UDP && !(info & PORT_LISTENS))
        kind = WATCH_CLOSED_UDP;
    if (!kind)
        return;
    u64 port = bounded(from_be16(p->ports >> 16), 0xffff);
    u32 *last = WHOLE(u32, AT_WATCH_PORTS) + port, now = p->now;
    if (now - *last < WATCH_PORT_TICKS)
        return;
    *last = now;
    struct watch_event *event = watch_place(WATCH_TRIED, p->now);
    if (!event)
        return;
    watch_addresses(event, p->data, p->end, p->l3, p->is_v6, 1);
    watch_done(event, kind, port, from_be16(p->ports & 0xffff));
}

/* A packet from outside that completes a handshake, seen here only while its lane is over budget. */
INLINE void watch_login(struct packet *p)
{
    u32 port = from_be16(p->ports >> 16);
    if (!(port_info(PROTO_TCP, port) & PORT_ADMIN))
        return;
    struct watch_event *event = watch_place(WATCH_LOGIN, p->now);
    if (!event)
        return;
    watch_addresses(event, p->data, p->end, p->l3, p->is_v6, 1);
    watch_done(event, WATCH_ADMIN_LOGIN, port, from_be16(p->ports & 0xffff));
}

/* A packet of ours that begins a flow, or shows that a handshake was completed. local, remote: ports in host order. */
INLINE void watch_sent(void *data, void *end, u32 l3, u64 is_v6, enum watch_kind kind, u64 local, u64 remote, u64 now)
{
    struct watch_event *event = watch_place(kind == WATCH_ADMIN_LOGIN ? WATCH_LOGIN : WATCH_OUTBOUND, now);
    if (!event)
        return;
    watch_addresses(event, data, end, l3, is_v6, 0);
    watch_done(event, kind, local, remote);
}

#endif
