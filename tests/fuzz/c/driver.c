/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Shows mutated packets to the loaded programs of one wall, as fast as one system call a packet goes, and holds each verdict
 * against the rules of oracle.h. tests/fuzz/walls.py loads the wall, writes the plan that this reads, and reads what it
 * prints: a JSON object a line.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <time.h>

#include "plan.h"

static u64 states;

/* The packet that the native build has, for a fault that ends the process. */
static const struct packet *in_hand;
void __sanitizer_set_death_callback(void (*)(void));

static void last_words(void)
{
    struct outcome o = {.reason = REASON_SLOTS};
    if (in_hand)
        finding("native-fault", in_hand, &o, "the native build ended; see its last words");
}

static void on_signal(int number)
{
    signal(number, SIG_DFL);
    last_words();
    raise(number);
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

/* How many different things the loaded program did: verdict, reason, and what the lanes counted. */
static void note_state(const struct outcome *o)
{
    static u8 seen[65536 / 8];
    u32 state = (o->verdict & 3) | o->reason << 2 | o->lane << 8 | (o->lane_bits & 15) << 12;
    if (seen[state / 8] >> (state % 8) & 1)
        return;
    seen[state / 8] |= 1 << (state % 8);
    states++;
}

/* A handshake or a flow that the first of the two made known makes the second pass for another reason. */
static u32 alike(u32 reason)
{
    return reason == reasons.pass_handshake ? reasons.pass_flow : reason;
}

/* Both must get the same reason. What time can have changed in between is tried again. */
static void compare(const char *kind, const struct packet *one, const struct packet *other)
{
    struct outcome a, b;
    for (int tries = 0; tries < 4; tries++) {
        if (judge(one, &a) || judge(other, &b))
            return;
        if (alike(a.reason) == alike(b.reason))
            return;
    }
    finding(kind, other, &b, "reason %u of the one, %u of the other", a.reason, b.reason);
    finding(kind, one, &a, "reason %u of the one, %u of the other", a.reason, b.reason);
}

static void try_twins(const struct packet *p, const struct outcome *o, u32 how)
{
    struct packet twin, six;
    struct layers l;
    if (how & 1 && in_a_tag(p, &twin))
        compare("tag-twin", p, &twin);
    if (set.families && (how & 6) == 6 && in_both_families(p, &twin, &six))
        compare("family-twin", &twin, &six);
    look(p->data, p->size, &l);
    if ((how & 24) == 24 && l.sane && p->size > l.ip_end && l.ip_end >= 14) { /* without its padding */
        memcpy(&twin, p, sizeof(p->size) + p->size);
        twin.size = l.ip_end;
        compare("padding-twin", p, &twin);
    }
    (void)o;
}

static void send_answer(const struct packet *p)
{
    struct packet answer;
    struct outcome o = {.reason = 0};
    if (!turned_round(p, &answer))
        return;
    if (sends && answer.size <= 2048) {
        in_hand = &answer;
        native_send(answer.data, answer.size);
        in_hand = NULL;
    }
    int error = test_run(set.egress, answer.data, answer.size, &run);
    if (error == EINVAL) /* the kernel takes no such socket buffer */
        return;
    o.verdict = run.verdict;
    if (error || run.verdict != 0xffffffff || run.size != answer.size || memcmp(run.data, answer.data, answer.size))
        finding("egress", &answer, &o, "error %d", error);
    if (memcmp(was, column, sizeof(was)) || memcmp(would_was, would, sizeof(would_was)))
        finding("egress-counts", &answer, &o, "a verdict was counted");
}

static void show(const struct packet *p)
{
    struct outcome o;
    u32 native_reason = 0, verdict = 0;
    if (p->size <= 2048) { /* in one buffer: longer ones are the loaded program's alone */
        in_hand = p;
        verdict = native_run(p->data, p->size, &native_reason);
        if (news(edges_seen))
            keep(p, 1);
    }
    in_hand = NULL;
    if (judge(p, &o))
        return;
    note_state(&o);
    if (set.differs && p->size <= 2048 && (o.reason != native_reason || o.verdict != verdict))
        finding("native", p, &o, "the native build says verdict %u, reason %u", verdict, native_reason);
    if (o.verdict == VERDICT_TX)
        check_answer(p, &o, limited);
    u32 how = dice() >> 40;
    if (set.twins)
        try_twins(p, &o, how);
    if (set.egress >= 0 && !(how >> 5 & 31))
        send_answer(p);
}

/* Empties the ring buffer of samples, and looks at each. */
static void drain(const struct packet *p)
{
    struct outcome o = {.reason = 0};
    u64 at = *ring.consumer, end = *ring.producer;
    while (at < end) {
        const u8 *record = ring.data + (at & ring.mask);
        u32 length = *(const volatile u32 *)record & 0x3fffffff;
        u16 captured = *(const u16 *)(record + 8 + 12);
        u8 reason = record[8 + 14] & 0x7f /* without WOULD_DROP */, lane = record[8 + 15];
        if ((int)length != sample_size || reason >= reasons.used || lane >= LANE_SLOTS || captured > 168) {
            finding("sample", p, &o, "length %u, reason %u, lane %u, captured %u", length, reason, lane, captured);
            *ring.consumer = end;
            return;
        }
        at += (length + 8 + 7) / 8 * 8;
    }
    *ring.consumer = at;
}

static void report(const char *what, double begun)
{
    printf("{\"%s\":\"%s\",\"packets\":%llu,\"seconds\":%.2f,\"edges\":%llu,\"found\":%llu,\"states\":%llu,"
           "\"answers\":%llu,\"findings\":%llu}\n",
           what, set.name, (unsigned long long)judged, seconds_now() - begun, (unsigned long long)edge_count,
           (unsigned long long)found_count, (unsigned long long)states, (unsigned long long)answers_seen,
           (unsigned long long)findings);
    fflush(stdout);
}

/*
 * Each seed whole; then cut at every byte, off the wire and with lengths that agree, as many as a quarter of the run has
 * room for.
 */
static void show_seeds(double end)
{
    struct packet p;
    for (int i = 0; i < seeds && seconds_now() < end; i++) {
        copy_entry(i, &p);
        show(&p);
    }
    u64 most = judged + most_packets / 4;
    int first = below(seeds);
    for (int i = 0; i < seeds && seconds_now() < end && judged < most; i++) {
        int number = (first + i) % seeds;
        for (u32 size = 14; size < corpus[number].size && size < 160; size++) {
            copy_entry(number, &p);
            p.size = size;
            show(&p);
            mend(&p);
            show(&p);
        }
    }
}

static void fuzz(void)
{
    double begun = seconds_now(), told_at = begun, end = begun + most_seconds;
    struct packet p, other;
    memset(&p, 0, sizeof(p));
    check_whole(&p);
    show_seeds(begun + most_seconds / 4);
    u64 edges_at_first = edge_count;
    for (u64 round = 1; judged < most_packets && findings < 50 && entries; round++) {
        /* Half of the time one of the latest hundred. */
        int latest = entries < 100 ? entries : 100;
        copy_entry(below(2) ? entries - 1 - (int)below(latest) : (int)below(entries), &p);
        copy_entry(below(entries), &other);
        mutate(&p, &other);
        show(&p);
        native_tick += !(round & 1023);
        if (has_ring && !(round & 1023))
            drain(&p);
        if (round & 4095)
            continue;
        if (!(round & 65535))
            check_whole(&p);
        double now = seconds_now();
        if (now > end)
            break;
        if (now - told_at > 5) {
            told_at = now;
            report("at", begun);
        }
    }
    check_whole(&p);
    int kept = keep_path ? write_corpus(keep_path) : 0;
    printf("{\"seeds\":%d,\"edges_of_seeds\":%llu,\"kept\":%d,\"bytes\":%llu,\"echoes\":%llu}\n", seeds,
           (unsigned long long)edges_at_first, kept, (unsigned long long)judged_bytes, (unsigned long long)echoes);
    report("done", begun);
}

/* Each packet of the corpus, and what became of it. */
static void replay(void)
{
    struct packet p;
    for (int i = 0; i < entries; i++) {
        struct outcome o;
        u32 native_reason = REASON_SLOTS;
        copy_entry(i, &p);
        if (judge(&p, &o))
            continue;
        if (p.size <= 2048)
            native_run(p.data, p.size, &native_reason);
        printf("{\"replayed\":%d,\"verdict\":%u,\"reason\":%u,\"native\":%u}\n", i, o.verdict, o.reason, native_reason);
        for (int tries = 0; tries < 256; tries++)
            show(&p);
    }
    report("done", seconds_now());
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: driver PLAN\n");
        return 2;
    }
    FILE *plan = fopen(argv[1], "r");
    if (!plan)
        die(argv[1]);
    read_plan(plan);
    fclose(plan);
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(set.cpu, &cpus);
    if (sched_setaffinity(0, sizeof(cpus), &cpus))
        die("sched_setaffinity");
    verdicts = need_array("verdicts");
    lane_cpus = need_array("lane_cpus");
    column = (struct count *)verdicts->memory + (size_t)set.cpu * INTERFACES * REASON_SLOTS;
    memcpy(was, column, sizeof(was));
    would_drop = need_array("would_drop");
    would = (struct count *)would_drop->memory + (size_t)set.cpu * INTERFACES * REASON_SLOTS;
    memcpy(would_was, would, sizeof(would_was));
    struct outcome ignored;
    read_lanes(&ignored);
    __sanitizer_set_death_callback(last_words);
    signal(SIGSEGV, on_signal);
    signal(SIGBUS, on_signal);
    if (replays)
        replay();
    else
        fuzz();
    return findings ? 1 : 0;
}
