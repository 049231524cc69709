/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * bpf/wall.c as an ordinary program. Maps are memory, helpers are functions, a tail call is a call that does not come back.
 * Addresses of packets fit in 32 bits, as in struct xdp_md, and each packet ends where a page without access begins: a read
 * beyond it ends the run.
 *
 * gcc calls __sanitizer_cov_trace_pc at each branch; two in a row are an edge.
 *
 * -D: as for bpf/wall.c, but for SEED, which is a variable here, like all that is filled in at a load.
 */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <linux/types.h>
#include "native.h"

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s32 s32;
typedef __s64 s64;

static u64 native_seed;

#define OFF __attribute__((no_sanitize_coverage))

/* --- maps -------------------------------------------------------------------------------------------------------- */

enum map_kind { KIND_ARRAY, KIND_HASH, KIND_LPM };

struct native_map {
    const char *name;
    const char *kind;
    u32 key_size;
    u32 value_size;
    u32 entries;
    u32 used; /* hash and trie: of the entries */
    u8 *memory;
};

#define MOST_MAPS 64
#define LISTED 512 /* entries of a hash or a trie, at most; few, for they are searched from end to end */
static struct native_map *native_maps[MOST_MAPS];
static int native_map_count;

static void native_register(struct native_map *map)
{
    u32 entries = strcmp(map->kind, "array") ? LISTED : map->entries;
    size_t step = strcmp(map->kind, "array") ? map->key_size + map->value_size + 16 : map->value_size;
    map->memory = calloc(entries, step);
    native_maps[native_map_count++] = map;
}

static u8 *listed(struct native_map *map, u32 number)
{
    return map->memory + (size_t)number * (map->key_size + map->value_size + 16);
}

static u8 *value_in(struct native_map *map, u8 *entry)
{
    return entry + (map->key_size + 7) / 8 * 8;
}

static int matches(const u8 *entry, const u8 *key, u32 bits)
{
    u32 whole = bits / 8;
    return !memcmp(entry, key, whole) && (!(bits % 8) || !((entry[whole] ^ key[whole]) >> (8 - bits % 8)));
}

static void *native_lookup(struct native_map *map, const void *key)
{
    if (!strcmp(map->kind, "array")) {
        u32 index = *(const u32 *)key;
        return index < map->entries ? map->memory + (size_t)index * map->value_size : NULL;
    }
    int is_trie = !strcmp(map->kind, "lpm_trie");
    u8 *best = NULL;
    for (u32 i = 0; i < map->used; i++) {
        u8 *entry = listed(map, i);
        if (!is_trie && !memcmp(entry, key, map->key_size))
            return value_in(map, entry);
        if (is_trie && matches(entry + 4, (const u8 *)key + 4, *(u32 *)entry) &&
            (!best || *(u32 *)entry > *(u32 *)best))
            best = entry;
    }
    return best ? value_in(map, best) : NULL;
}

#define BPF_F_TABLE(map_kind_, key_type, value_type, map_name, map_entries, map_flags) \
    static struct native_map map_name##_map = {                                        \
        .name = #map_name,                                                             \
        .kind = map_kind_,                                                             \
        .key_size = sizeof(key_type),                                                  \
        .value_size = sizeof(value_type),                                              \
        .entries = (map_entries),                                                      \
    };                                                                                 \
    static value_type *map_name##_lookup(key_type *key)                                \
    {                                                                                  \
        return native_lookup(&map_name##_map, key);                                    \
    }                                                                                  \
    static struct {                                                                    \
        value_type *(*lookup)(key_type *);                                             \
    } map_name = {map_name##_lookup};                                                  \
    __attribute__((constructor)) static void map_name##_register(void)                 \
    {                                                                                  \
        native_register(&map_name##_map);                                              \
    }

struct xdp_md;
static void native_call(struct xdp_md *ctx, u32 stage);
#define BPF_TABLE(map_kind_, key_type, value_type, map_name, map_entries) \
    static struct {                                                       \
        void (*call)(struct xdp_md *, u32);                               \
    } map_name __attribute__((unused)) = {native_call};

/* The ring has room nine times in ten. */
static u8 native_ring[4096];
static u64 native_reserved;
static void *native_reserve(u64 size)
{
    return ++native_reserved % 10 && size <= sizeof(native_ring) ? native_ring : NULL;
}
static void native_submit(void *place, u64 flags)
{
    (void)place, (void)flags;
}
#define BPF_RINGBUF_OUTPUT(map_name, pages)  \
    static struct {                          \
        void *(*ringbuf_reserve)(u64);       \
        void (*ringbuf_submit)(void *, u64); \
    } map_name = {native_reserve, native_submit};

/* --- helpers ----------------------------------------------------------------------------------------------------- */

uint64_t native_tick = 1 << 20;
#define lock_xadd(at, add) ((void)__sync_fetch_and_add((at), (add)))
#define bpf_jiffies64() native_tick
#define bpf_ktime_get_ns() (native_tick * 4000000ULL)
#define bpf_get_smp_processor_id() 0U

static u64 native_address(u32 place);
static u64 native_constant(u32 placeholder)
{
    if (placeholder >> 8 == 0x57a120)
        return native_address(placeholder);
    switch (placeholder) {
    case 0x57a11001: /* slot */
    case 0x57a11002: /* jumbo */
    case 0x57a11030: /* SAMPLE_SHIFT */
        return 0;
    case 0x57a11003: /* EPOCH_SHIFT */
        return 8;
    case 0x57a11004: /* SEED */
        return native_seed;
    default:
        return 1000;
    }
}
#define bpf_pseudo_fd(kind, placeholder) native_constant(placeholder)
#define bpf_xdp_adjust_tail native_adjust_tail
static int native_adjust_tail(struct xdp_md *ctx, int delta);

#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-variable"
#pragma GCC diagnostic ignored "-Wint-to-pointer-cast"
#include "../../../bpf/wall.c"

/* What WHOLE of bpf/maps.h wants. */
static u64 native_address(u32 place)
{
#define TABLE(at, map) \
    case at:           \
        return (u64)(uintptr_t)map##_map.memory;
    switch (place) {
        TABLE(AT_GATE, gate)
        TABLE(AT_BAN4_GATE, ban4_gate)
        TABLE(AT_BAN6_GATE, ban6_gate)
        TABLE(AT_PROOF_GATE, proof_gate)
        TABLE(AT_PEERS, peers)
        TABLE(AT_PORTS, ports)
        TABLE(AT_BUDGETS, budgets)
        TABLE(AT_POOLS, pools)
        TABLE(AT_CLASSES, classes)
        TABLE(AT_LANE_CPUS, lane_cpus)
        TABLE(AT_HANDOVERS, handovers)
        TABLE(AT_VERDICTS, verdicts)
        TABLE(AT_WOULD_DROP, would_drop)
        TABLE(AT_SAMPLE_RATIONS, sample_rations)
        TABLE(AT_WATCH_PORTS, watch_ports)
        TABLE(AT_RULES, rules)
        TABLE(AT_SOURCE_TAGS, source_tags)
        TABLE(AT_PREFIX_TAGS, prefix_tags)
    default:
        abort();
    }
}

#define FRAME_ROOM 65536
static u8 *frame_end; /* a page without access begins here */

static int native_adjust_tail(struct xdp_md *ctx, int delta)
{
    u8 *data = (u8 *)(uintptr_t)ctx->data, *end = (u8 *)(uintptr_t)ctx->data_end;
    if (end + delta < data + ETH_HEADER)
        return -1;
    if (delta > 0) { /* it still ends where the page without access begins */
        memmove(data - delta, data, end - data);
        memset(end - delta, 0, delta);
        ctx->data -= delta;
    } else {
        ctx->data_end += delta;
    }
    return 0;
}

static long native_load_bytes(struct xdp_md *ctx, u32 offset, void *to, u32 length)
{
    u32 size = ctx->data_end - ctx->data;
    if (offset > size || length > size - offset)
        return -1;
    memcpy(to, (void *)(uintptr_t)(ctx->data + offset), length);
    return 0;
}

static u64 native_length(struct xdp_md *ctx)
{
    return ctx->data_end - ctx->data;
}

static u64 native_time(void)
{
    return bpf_ktime_get_ns();
}

/* A cookie that this build knows again: as a stand-in for the kernel's secret sum. */
static u32 native_cookie(u32 sequence)
{
    return sequence * 2654435761U ^ 0x5bd1e995;
}

static s64 native_make(void *ip, void *tcp, u32 length)
{
    struct tcp_header *request = tcp;
    if (length < sizeof(*request))
        return -22;
    return (u64)native_cookie(from_be32(request->sequence)) | 1460ULL << 32;
}

static s64 native_check(void *ip, void *tcp)
{
    struct tcp_header *ack = tcp;
    return from_be32(ack->acknowledgement) - 1 == native_cookie(from_be32(ack->sequence) - 1) ? 0 : -13;
}

/* --- a run ------------------------------------------------------------------------------------------------------- */

static jmp_buf called_away;
static int stage_verdict;

static void native_call(struct xdp_md *ctx, u32 stage)
{
    switch (stage) {
    case STAGE_OVER:
        stage_verdict = over(ctx);
        break;
    case STAGE_COOKIE:
        stage_verdict = cookie(ctx);
        break;
    case STAGE_SAMPLE:
        stage_verdict = sampled(ctx);
        break;
    case STAGE_RULES:
        stage_verdict = rules_stage(ctx);
        break;
    default:
        return;
    }
    longjmp(called_away, 1);
}

static u8 *place_frame(const u8 *packet, u32 size)
{
    if (!frame_end) {
        u8 *pages =
            mmap(NULL, FRAME_ROOM + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
        if (pages == MAP_FAILED || mprotect(pages + FRAME_ROOM, 4096, PROT_NONE)) {
            perror("fuzz driver: no memory below 4 GiB");
            exit(2);
        }
        frame_end = pages + FRAME_ROOM;
    }
    u8 *data = frame_end - size;
    memcpy(data, packet, size);
    return data;
}

uint8_t native_edges[EDGES];
uint16_t native_taken[EDGES];
uint32_t native_taken_count;
static uintptr_t edge_from;

OFF void __sanitizer_cov_trace_pc(void)
{
    uintptr_t here = (uintptr_t)__builtin_return_address(0);
    uintptr_t at = (here ^ edge_from) & (EDGES - 1);
    if (!native_edges[at])
        native_taken[native_taken_count++] = at;
    native_edges[at] += native_edges[at] != 255;
    edge_from = here >> 1;
}

void native_start(uint64_t seed)
{
    native_seed = seed;
    xdp_frame_length = (void *)native_length;
    xdp_load_bytes = (void *)native_load_bytes;
    read_bytes = (void *)native_load_bytes;
    coarse_time = native_time;
    make_cookie4 = make_cookie6 = native_make;
    check_cookie4 = check_cookie6 = native_check;
}

static struct native_map *map_named(const char *name)
{
    for (int i = 0; i < native_map_count; i++) {
        if (!strcmp(native_maps[i]->name, name))
            return native_maps[i];
    }
    return NULL;
}

void *native_table(const char *name, size_t *size)
{
    struct native_map *map = map_named(name);
    if (!map || strcmp(map->kind, "array"))
        return NULL;
    *size = (size_t)map->entries * map->value_size;
    return map->memory;
}

void native_put(const char *name, const void *key, const void *value)
{
    struct native_map *map = map_named(name);
    if (!map || !strcmp(map->kind, "array") || map->used == LISTED) {
        fprintf(stderr, "fuzz driver: no room in a list %s\n", name);
        exit(2);
    }
    u8 *entry = listed(map, map->used++);
    memcpy(entry, key, map->key_size);
    memcpy(value_in(map, entry), value, map->value_size);
}

uint32_t native_run(const uint8_t *packet, uint32_t size, uint32_t *reason)
{
    struct count *counts = (void *)verdicts_map.memory;
    memset(counts, 0, sizeof(*counts) * REASON_SLOTS);
    u8 *data = place_frame(packet, size);
    static struct xdp_md ctx;
    ctx = (struct xdp_md){.data = (uintptr_t)data, .data_end = (uintptr_t)data + size};
    edge_from = 0;
    volatile int result = 0;
    if (!setjmp(called_away))
        result = wall(&ctx);
    else
        result = stage_verdict;
    *reason = REASON_SLOTS;
    for (u32 i = 0; i < REASON_SLOTS; i++) {
        if (counts[i].packets)
            *reason = i;
    }
    return result;
}

int native_send(const uint8_t *packet, uint32_t size)
{
    u8 *data = place_frame(packet, size);
    struct __sk_buff skb = {.data = (uintptr_t)data, .data_end = (uintptr_t)data + size, .len = size};
    edge_from = 0;
    return egress(&skb);
}
