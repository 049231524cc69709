/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What must hold of each packet that the wall judged. A finding is a packet for which it does not.
 */
#ifndef FUZZ_ORACLE_H
#define FUZZ_ORACLE_H

#include <stdarg.h>
#include "twins.h"

#define VERDICT_DROP 1
#define VERDICT_PASS 2
#define VERDICT_TX 3
#define LANE_FRAGMENT 4

/* Reasons that a rule below names; driver.c is told all others as numbers, from xdpwall/reasons.py. */
struct known_reasons {
    u64 passes;    /* a bit each, as in bpf/reasons.h */
    u64 lanes;     /* those that only the lanes give */
    u64 malformed; /* those that the parser gives */
    u32 used;
    u32 pass, pass_allowed, pass_link, pass_not_ip, banned_source, banned_prefix, source_own, cookie_sent, pass_flow,
        pass_handshake;
};
static struct known_reasons reasons;

struct settings {
    const char *name;
    int program, egress, observe, checks_malformed, lanes, cpu;
    int twins;    /* nothing but the packet decides: its twins must get the same reason */
    int families; /* so must those of the other family */
    int differs;  /* the native build must agree */
    int reserves; /* limits keep something for known flows */
};
static struct settings set;

struct outcome {
    u32 verdict, reason, size;
    u32 lane, lane_bits; /* 8: none */
};

static struct array *verdicts, *lane_cpus;
static struct array *would_drop;
static struct count *column; /* of this CPU and interface */
static struct count *would;  /* the same of what would be dropped, where that is only observed */
static struct count was[REASON_SLOTS], would_was[REASON_SLOTS];
static u64 judged, judged_bytes, findings, echoes, answers_seen;
static struct run run;
static const char *reproducers = ".";

/* The same fault is found again and again: each kind is told of a few times. */
#define MOST_KINDS 64
static struct told {
    const char *kind;
    u32 reason, times;
} told[MOST_KINDS];

static void finding(const char *kind, const struct packet *p, const struct outcome *o, const char *format, ...)
{
    findings++;
    for (int i = 0; i < MOST_KINDS; i++) {
        if (told[i].kind && (strcmp(told[i].kind, kind) || told[i].reason != o->reason))
            continue;
        told[i].kind = kind;
        told[i].reason = o->reason;
        if (++told[i].times > 3)
            return;
        break;
    }
    char path[512], detail[256];
    snprintf(path, sizeof(path), "%s/%s-%s-%llu.hex", reproducers, set.name, kind, (unsigned long long)findings);
    va_list rest;
    va_start(rest, format);
    vsnprintf(detail, sizeof(detail), format, rest);
    va_end(rest);
    FILE *file = fopen(path, "w");
    if (!file)
        die(path);
    for (u32 i = 0; i < p->size; i++)
        fprintf(file, "%02x", p->data[i]);
    fputc('\n', file);
    fclose(file);
    printf("{\"finding\":\"%s\",\"config\":\"%s\",\"verdict\":%u,\"reason\":%u,\"detail\":\"%s\",\"file\":\"%s\"}\n",
           kind, set.name, o->verdict, o->reason, detail, path);
    fflush(stdout);
}

/* --- the answer in the place of a connection request ------------------------------------------------------------- */

static const char *wrong_answer(const struct packet *p, u32 *echo)
{
    struct layers in, out;
    look(p->data, p->size, &in);
    look(run.data, run.size, &out);
    const u8 *ip = run.data + out.l3, *asked = p->data + in.l3;
    if (memcmp(run.data, p->data + 6, 6) || memcmp(run.data + 6, p->data, 6))
        return "MAC addresses are not swapped";
    if (p->data[0] & 1)
        return "a frame to a group was answered";
    if (in.l3 != out.l3 || memcmp(run.data + 12, p->data + 12, in.l3 - 12))
        return "tags or type changed";
    if (!out.sane || in.fragment || in.last_header != 6 || out.last_header != 6)
        return "no TCP, or lengths that lie";
    u32 v4 = out.type == TYPE_IPV4, size = v4 ? 4 : 16, at = v4 ? 12 : 8;
    if (memcmp(ip + at, asked + at + size, size) || memcmp(ip + at + size, asked + at, size))
        return "addresses are not swapped";
    if (v4 && (ip[0] != 0x45 || fold(add_up(ip, 20, 0)) != 0xffff))
        return "IPv4 header or its checksum";
    if (out.transport + 20 > run.size || in.transport + 20 > p->size)
        return "no whole TCP header";
    const u8 *tcp = run.data + out.transport, *syn = p->data + in.transport;
    u32 length = out.ip_end - out.transport;
    if (memcmp(tcp, syn + 2, 2) || memcmp(tcp + 2, syn, 2))
        return "ports are not swapped";
    if ((syn[13] & 0x12) != 2)
        return "that was no request";
    if ((tcp[13] & ~0x40) != 0x12)
        return "flags are not SYN and ACK";
    if ((u32)(get16(syn + 4) << 16 | get16(syn + 6)) + 1 != (u32)(get16(tcp + 8) << 16 | get16(tcp + 10)))
        return "it does not acknowledge the request";
    if ((length != 24 && length != 40) || (u32)(tcp[12] >> 4) * 4 != length)
        return "length of the TCP header";
    u32 shortest = p->size < 60 ? p->size : 60, wanted = out.ip_end > shortest ? out.ip_end : shortest;
    if (run.size != wanted)
        return "length of the frame";
    if (!tcp_sum_right(run.data, &out, length))
        return "TCP checksum";
    *echo = (get16(tcp + 4) << 16 | get16(tcp + 6)) + 1;
    return NULL;
}

/* --- every packet ------------------------------------------------------------------------------------------------ */

static void check_lists(const struct packet *p, const struct layers *l, struct outcome *o)
{
    u32 drops = o->verdict == VERDICT_DROP || set.observe, reason = o->reason;
    int judged_by_list = reason == reasons.pass_allowed || reason == reasons.banned_source ||
                         reason == reasons.banned_prefix || reason == reasons.source_own;
    enum role role = l->has_ip ? l->role : ROLE_NOBODY;
    if (judged_by_list) {
        enum role wanted = reason == reasons.pass_allowed    ? ROLE_ALLOWED
                           : reason == reasons.source_own    ? ROLE_OWN
                           : reason == reasons.banned_source ? ROLE_BANNED
                                                             : ROLE_PREFIX_BANNED;
        if (role != wanted)
            finding("wrong-list", p, o, "role %d", role);
        return;
    }
    if (reason == reasons.pass_link) {
        if (!l->is_link)
            finding("not-link", p, o, "passed as what keeps the link alive");
        return;
    }
    int malformed = reasons.malformed >> reason & 1;
    if (role == ROLE_NOBODY || (malformed && set.checks_malformed))
        return;
    if (role == ROLE_ALLOWED)
        finding("allowed-dropped", p, o, "an allowed source got another reason");
    else
        finding(drops ? "list-passed-over" : "banned-passed", p, o, "role %d", role);
}

static void check_truncation(const struct packet *p, const struct layers *l, struct outcome *o)
{
    if (!set.checks_malformed || (reasons.malformed >> o->reason & 1))
        return;
    u32 fixed = l->type == TYPE_IPV4 ? 20 : l->type == TYPE_IPV6 ? 40 : 0;
    if (!fixed)
        return;
    if (!l->has_ip)
        finding("cut-header", p, o, "%u bytes, the IP header begins at %u", p->size, l->l3);
    else if (!l->sane)
        finding("length-lie", p, o, "the packet ends at %u, the frame at %u", l->ip_end, p->size);
}

/* What the lanes counted for this packet: which one, and whether it was over, dropped, known. */
static void read_lanes(struct outcome *o)
{
    static struct lane_view before[LANE_SLOTS];
    struct lane_view *now = (struct lane_view *)lane_cpus->memory + set.cpu * LANE_SLOTS;
    o->lane = LANE_SLOTS;
    o->lane_bits = 0;
    for (u32 lane = 0; lane < LANE_SLOTS; lane++) {
        u64 seen = now[lane].seen.packets - before[lane].seen.packets;
        u64 over = now[lane].over.packets - before[lane].over.packets;
        u64 dropped = now[lane].dropped.packets - before[lane].dropped.packets;
        u64 known = now[lane].known.packets - before[lane].known.packets;
        if (seen)
            o->lane = lane;
        if (seen | over | dropped | known) {
            o->lane_bits |= over << 1 | dropped << 2 | known << 3;
            o->lane_bits |= (seen > 1 || over > 1 || dropped > 1 || known > 1 || dropped > over) << 7;
            before[lane] = now[lane];
        }
    }
}

static void check_verdict(const struct packet *p, const struct layers *l, struct outcome *o)
{
    int passes = reasons.passes >> o->reason & 1, sent = o->reason == reasons.cookie_sent;
    u32 wanted = set.observe || passes ? VERDICT_PASS : sent ? VERDICT_TX : VERDICT_DROP;
    if (o->verdict != wanted)
        finding("verdict", p, o, "wanted %u", wanted);
    if (o->verdict != VERDICT_TX && (o->size != p->size || memcmp(run.data, p->data, p->size)))
        finding("changed", p, o, "the frame is another now, of %u bytes", o->size);
    if (o->reason == reasons.pass_not_ip && (l->type == TYPE_IPV4 || l->type == TYPE_IPV6))
        finding("not-ip", p, o, "type %04x", l->type);
    if (l->type && !is_tag(l->type) && l->type != TYPE_IPV4 && l->type != TYPE_IPV6 && o->reason != reasons.pass_not_ip)
        finding("not-ip", p, o, "type %04x", l->type);
    if (o->lane_bits >> 7)
        finding("lane-count", p, o, "lanes counted %x", o->lane_bits);
    int by_lanes = reasons.lanes >> o->reason & 1;
    /* What a limit keeps in reserve for known flows passes before the lanes (bpf/reserve.h). */
    int reserved = set.reserves && o->reason == reasons.pass_flow && o->lane == LANE_SLOTS;
    if (set.lanes && by_lanes != (o->lane < LANE_SLOTS) && o->reason != reasons.pass && !reserved)
        finding("lane-count", p, o, "lane %u", o->lane);
}

/* 0 when the packet could be judged at all. */
static int judge(const struct packet *p, struct outcome *o)
{
    memset(o, 0, sizeof(*o));
    o->reason = REASON_SLOTS;
    int error = test_run(set.program, p->data, p->size, &run);
    if (error) {
        finding("test-run", p, o, "%s", strerror(error));
        return error;
    }
    o->verdict = run.verdict;
    o->size = run.size;
    u64 moved = 0;
    for (u32 i = 0; i < REASON_SLOTS; i++) {
        u64 packets = column[i].packets - was[i].packets;
        if (!packets)
            continue;
        moved += packets;
        o->reason = i;
        if (packets == 1 && column[i].bytes - was[i].bytes != p->size)
            finding("bytes", p, o, "%llu counted", (unsigned long long)(column[i].bytes - was[i].bytes));
        was[i] = column[i];
    }
    for (u32 i = 0; set.observe && i < REASON_SLOTS; i++) {
        u64 packets = would[i].packets - would_was[i].packets;
        if (!packets)
            continue;
        moved += packets;
        o->reason = i;
        if (would[i].bytes - would_was[i].bytes != p->size || reasons.passes >> i & 1)
            finding("would-drop", p, o, "%llu bytes", (unsigned long long)(would[i].bytes - would_was[i].bytes));
        would_was[i] = would[i];
    }
    judged++;
    judged_bytes += p->size;
    if (moved != 1 || o->reason >= reasons.used) {
        finding("counters", p, o, "%llu verdicts counted", (unsigned long long)moved);
        return 1;
    }
    struct layers l;
    look(p->data, p->size, &l);
    read_lanes(o);
    check_verdict(p, &l, o);
    check_lists(p, &l, o);
    check_truncation(p, &l, o);
    return 0;
}

/* A request was answered: the answer must be right, and whoever echoes its number is real. */
static void check_answer(const struct packet *p, const struct outcome *o, u64 limited)
{
    u32 echo = 0;
    const char *wrong = wrong_answer(p, &echo);
    answers_seen++;
    if (wrong) {
        finding("answer", p, o, "%s", wrong);
        return;
    }
    struct packet back;
    struct layers l;
    struct outcome heard;
    look(p->data, p->size, &l);
    memcpy(&back, p, sizeof(p->size) + p->size);
    u8 *tcp = back.data + l.transport;
    u32 next = (get16(tcp + 4) << 16 | get16(tcp + 6)) + 1;
    put16(tcp + 4, next >> 16);
    put16(tcp + 6, next);
    put16(tcp + 8, echo >> 16);
    put16(tcp + 10, echo);
    tcp[13] = 0x10;
    echoes++;
    if (judge(&back, &heard))
        return;
    if (heard.reason != reasons.pass_handshake && heard.reason != reasons.pass_flow && !(limited >> heard.reason & 1))
        finding("echo", &back, &heard, "the echo of a cookie is no proof");
}

/* --- between packets --------------------------------------------------------------------------------------------- */

/* Every counter together, and what only Python may write. */
static void check_whole(const struct packet *p)
{
    struct outcome o = {.reason = 0};
    static u64 others;
    u64 packets = 0, bytes = 0, elsewhere = 0;
    for (int map = 0; map < 2; map++) {
        struct array *array = map ? would_drop : verdicts;
        struct count *all = (struct count *)array->memory, *ours = map ? would : column;
        for (u64 i = 0; i < array->size / sizeof(*all); i++) {
            if (&all[i] >= ours && &all[i] < ours + REASON_SLOTS) {
                packets += all[i].packets;
                bytes += all[i].bytes;
            } else {
                elsewhere += all[i].packets + all[i].bytes;
            }
        }
    }
    static u64 packets_before, bytes_before;
    static int begun;
    if (begun && (packets - packets_before != judged || bytes - bytes_before != judged_bytes))
        finding("sums", p, &o, "%llu packets counted of %llu", (unsigned long long)(packets - packets_before),
                (unsigned long long)judged);
    if (begun && elsewhere != others)
        finding("other-column", p, &o, "a counter of another CPU or interface moved");
    if (!begun) {
        packets_before = packets;
        bytes_before = bytes;
        begun = 1;
    }
    others = elsewhere;
    const char *name = thawed();
    if (name)
        finding("frozen", p, &o, "a packet changed %s", name);
    struct lane_view *lanes = (struct lane_view *)lane_cpus->memory;
    for (u64 i = 0; i < lane_cpus->size / sizeof(*lanes); i++) {
        /* A first fragment is seen in its transport's lane, and what is over of it in that of fragments (over.h). */
        int here = i % LANE_SLOTS != LANE_FRAGMENT;
        if (lanes[i].dropped.packets > lanes[i].over.packets || lanes[i].dropped.bytes > lanes[i].over.bytes ||
            lanes[i].known.packets > lanes[i].seen.packets || (here && lanes[i].over.packets > lanes[i].seen.packets))
            finding("lane-sums", p, &o, "lane %llu", (unsigned long long)i);
    }
}

#endif
