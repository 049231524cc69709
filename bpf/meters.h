/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Meters of sources and prefixes: bounded memory, a flat cost, and no flood of random sources can push a real heavy one
 * out. Each CPU has tables of its own, so nothing is shared and nothing is locked.
 *
 * A key's set is one line of eight tags with a score each. A packet of a key that is held raises its score. A packet of
 * one that is not held looks at two places and takes the one with the lower score if that is 0 or 1, and else lowers that
 * score by one: a key must come oftener than its rivals to stay. Scores fade to a sixteenth each epoch (about a second), so what went silent
 * makes room. (The idea is that of "frequent" or Misra-Gries counters, 1982, one small counter set a hash bucket, with
 * decay.)
 *
 * The counters behind a place are touched only from a key's second packet on. So a flood in which every packet has a new
 * source stays within the tag lines; what the first packet was is kept in the score's word until then, and nothing is
 * lost of packet and kind counts. Only the bytes of the first packet are taken to be those of the second.
 *
 * score word: epoch (8 bits) | fresh (1) | kinds of the first packet, while fresh (5) | score (18).
 */
#ifndef XDPWALL_METERS_H
#define XDPWALL_METERS_H

#define SCORE_MAX 0x3ffffULL
#define SCORE_KINDS 18
#define SCORE_FRESH (1ULL << 23)
#define SCORE_EPOCH 24

/* A key's standing in its set after a packet of its own. */
enum standing { NOT_HELD = 0, TAKEN = 1, SECOND = 2, HELD = 3 };

struct touch {
    u64 way;
    u64 first_kinds; /* with SECOND: what the first packet was */
    u32 standing;
};

/* A score as it is worth now: a sixteenth for each epoch since it was written, nothing after 16. */
INLINE u64 faded(u64 word, u64 epoch)
{
    u64 age = (epoch - (word >> SCORE_EPOCH)) & 0xff;
    s64 young = (s64)(age - 16) >> 63;
    asm volatile("" : "+r"(young));
    return ((word & SCORE_MAX) >> (age * 4 & 63)) & young;
}

INLINE void touch_line(struct tag_line *line, u64 tag, u64 epoch, u64 kinds, u64 random, struct touch *touch)
{
    u64 found = 0;
#pragma unroll
    for (int way = 0; way < WAYS; way++) {
        u64 difference = line->tag[way] ^ tag;
        u64 equal = (difference - 1) >> 63;
        asm volatile("" : "+r"(equal));
        found += equal * (WAYS + way);
    }
    if (found) {
        u64 way = found & (WAYS - 1);
        u64 word = line->score[way];
        u64 fresh = (word / SCORE_FRESH) & 1;
        u64 score = faded(word, epoch) + 1;
        score += score < 2;
        line->score[way] = epoch << SCORE_EPOCH | lesser(score, SCORE_MAX);
        touch->way = way;
        touch->first_kinds = (word >> SCORE_KINDS) & 31 & -fresh;
        touch->standing = HELD - fresh;
        return;
    }
    /*
     * Of two places, which change with time, the one worth less. To compare all eight costs 15 ns more in a flood and keeps
     * heavy sources no better: they lose a place only once their score is used up.
     */
    u64 one = random & (WAYS - 1), other = one ^ (1 + (random >> 3 & 3));
    /* The compiler sees that no mask is needed, but the verifier of 6.1 keeps no bound through an exclusive or. */
    asm volatile("" : "+r"(other));
    other &= WAYS - 1;
    u64 lower = lesser(faded(line->score[one], epoch) << 3 | one, faded(line->score[other], epoch) << 3 | other);
    u64 way = lower & (WAYS - 1);
    u64 score = lower >> 3;
    touch->way = way;
    touch->first_kinds = 0;
    if (score > 1) {
        u64 keep = line->score[way] & (SCORE_FRESH | 31ULL << SCORE_KINDS);
        line->score[way] = epoch << SCORE_EPOCH | keep | (score - 1);
        touch->standing = NOT_HELD;
        return;
    }
    line->tag[way] = tag;
    line->score[way] = epoch << SCORE_EPOCH | SCORE_FRESH | kinds << SCORE_KINDS | 1;
    touch->standing = TAKEN;
}

/*
 * Count the packet. `limited`: it may still be dropped for a limit; gives the reason then, else REASON_PASS.
 */
INLINE enum reason add_to_meter(struct meter *meter, u64 key, struct packet *p, struct touch *touch, enum scope scope,
                                u32 limited)
{
    u32 now = p->now;
    if (meter->key != key) {
        /* The key goes first and comes last, so that a reader in between sees an empty place at worst. */
        meter->key = 0;
        asm volatile("" ::: "memory");
        meter->packets = 0;
        meter->bytes = 0;
        meter->syn = 0;
        meter->udp = 0;
        meter->icmp = 0;
        meter->fragments = 0;
        meter->drops = 0;
        meter->first = now;
        fill_buckets(meter, scope);
        asm volatile("" ::: "memory");
        meter->key = key;
    } else {
        refill_buckets(meter, now, scope);
    }
    meter->last = now;
    u64 packets = 1 + (touch->standing == SECOND);
    meter->packets += packets;
    meter->bytes += packets * p->length;

    enum reason reason = limited ? take_tokens(meter, p, scope, 0) : REASON_PASS;
    if (reason)
        p->kinds |= KIND_DROPPED;
    u64 kinds = p->kinds, more = touch->first_kinds;
    if (!(kinds | more))
        return reason; /* most of real traffic: TCP beyond its SYN */
    meter->syn += (kinds & 1) + (more & 1);
    meter->udp += (kinds >> 1 & 1) + (more >> 1 & 1);
    meter->icmp += (kinds >> 2 & 1) + (more >> 2 & 1);
    meter->fragments += (kinds >> 3 & 1) + (more >> 3 & 1);
    meter->drops += (kinds >> 4 & 1) + (more >> 4 & 1);
    return reason;
}

/* A key of one of the two tables, and the line that it would be in. */
struct metered {
    u64 key;
    u64 hash;
    struct tag_line *line;
    u64 set;
};

INLINE enum reason meter_source(struct packet *p, struct metered *source, u32 limited)
{
    struct touch touch;
    touch_line(source->line, tag_of(source->key, source->hash), (p->now >> EPOCH_SHIFT) & 0xff, p->kinds,
               source->hash ^ p->now, &touch);
    if (touch.standing < SECOND)
        return REASON_PASS;
    u32 slot = source->set << 3 | touch.way;
    struct meter *meter = source_meters.lookup(&slot);
    p->meter = slot;
    return meter ? add_to_meter(meter, source->key, p, &touch, SCOPE_SOURCE, limited) : REASON_PASS;
}

INLINE enum reason meter_prefix(struct packet *p, struct metered *prefix, u32 limited)
{
    struct touch touch;
    touch_line(prefix->line, tag_of(prefix->key, prefix->hash), (p->now >> EPOCH_SHIFT) & 0xff, p->kinds,
               prefix->hash ^ p->now, &touch);
    if (touch.standing < SECOND)
        return REASON_PASS;
    u32 slot = prefix->set << 3 | touch.way;
    struct meter *meter = prefix_meters.lookup(&slot);
    if (limited)
        p->meter = slot;
    return meter ? add_to_meter(meter, prefix->key, p, &touch, SCOPE_PREFIX, limited) : REASON_PASS;
}

/*
 * Count the packet with its source and prefix (/24 of IPv4, /48 of IPv6); a packet that passed the lists so far can find
 * either over its limit. What the source's limit stopped takes nothing from its prefix.
 */
INLINE enum reason ask_meters(struct packet *p, enum reason so_far)
{
    struct metered source = {.key = p->key, .hash = p->hash};
    source.set = (p->cpu << SOURCE_BITS) + bounded(source.hash >> (64 - SOURCE_BITS), (1 << SOURCE_BITS) - 1);
    source.line = WHOLE(struct tag_line, AT_SOURCE_TAGS) + source.set;
    struct metered prefix = {.key = p->key & (p->is_v6 ? 0x0000ffffffffffffULL : 0x00ffffffffffffffULL)};
    prefix.hash = mix(prefix.key);
    prefix.set = (p->cpu << PREFIX_BITS) + bounded(prefix.hash >> (64 - PREFIX_BITS), (1 << PREFIX_BITS) - 1);
    prefix.line = WHOLE(struct tag_line, AT_PREFIX_TAGS) + prefix.set;
    /*
     * Asked for already, so that the processor waits for both lines at once: a wrong guess on the way through the first would
     * hold up the second. 7 ns of a flood, 22 of 270 where 100,000 sources take turns.
     */
    (void)*(volatile u32 *)prefix.line->tag;
    enum reason reason = unless_observed(p, meter_source(p, &source, so_far == REASON_PASS));
    u32 limited = so_far == REASON_PASS && !reason;
    enum reason wider = unless_observed(p, meter_prefix(p, &prefix, limited));
    return so_far ? so_far : reason ? reason : wider;
}

#endif
