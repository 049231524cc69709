/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What tests/fuzz/walls.py tells the driver, a line each: maps and programs as file descriptors, who is who, how long.
 */
#ifndef FUZZ_PLAN_H
#define FUZZ_PLAN_H

#include "oracle.h"
#include "corpus.h"

static u64 most_packets = 100000, limited;
static double most_seconds = 10;
static struct ring ring;
static int has_ring, sends, sample_size, replays;
static const char *keep_path;

static void copy_to_native(const struct array *array)
{
    size_t size;
    void *there = native_table(array->name, &size);
    if (there)
        memcpy(there, array->memory, size < array->size ? size : array->size);
}

static u32 *reason_named(const char *name)
{
    static const struct {
        const char *name;
        u32 *place;
    } NAMES[] = {
        {"PASS", &reasons.pass},
        {"PASS_ALLOWED", &reasons.pass_allowed},
        {"PASS_LINK", &reasons.pass_link},
        {"PASS_NOT_IP", &reasons.pass_not_ip},
        {"BANNED_SOURCE", &reasons.banned_source},
        {"BANNED_PREFIX", &reasons.banned_prefix},
        {"SOURCE_OWN", &reasons.source_own},
        {"COOKIE_SENT", &reasons.cookie_sent},
        {"PASS_FLOW", &reasons.pass_flow},
        {"PASS_HANDSHAKE", &reasons.pass_handshake},
    };
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        if (!strcmp(NAMES[i].name, name))
            return NAMES[i].place;
    }
    return NULL;
}

static void read_setting(const char *name, const char *text)
{
    const struct {
        const char *name;
        int *place;
    } NUMBERS[] = {
        {"program", &set.program},   {"egress", &set.egress},
        {"observe", &set.observe},   {"malformed", &set.checks_malformed},
        {"lanes", &set.lanes},       {"cpu", &set.cpu},
        {"twins", &set.twins},       {"families", &set.families},
        {"differs", &set.differs},   {"sends", &sends},
        {"sample", &sample_size},    {"replay", &replays},
        {"reserves", &set.reserves},
    };
    for (size_t i = 0; i < sizeof(NUMBERS) / sizeof(NUMBERS[0]); i++) {
        if (!strcmp(NUMBERS[i].name, name)) {
            *NUMBERS[i].place = atoi(text);
            return;
        }
    }
    u64 number = strtoull(text, NULL, 0);
    if (!strcmp(name, "name"))
        set.name = strdup(text);
    else if (!strcmp(name, "reproducers"))
        reproducers = strdup(text);
    else if (!strcmp(name, "keep"))
        keep_path = strdup(text);
    else if (!strcmp(name, "corpus"))
        read_corpus(text);
    else if (!strcmp(name, "seconds"))
        most_seconds = atof(text);
    else if (!strcmp(name, "packets"))
        most_packets = number;
    else if (!strcmp(name, "longest"))
        longest = number;
    else if (!strcmp(name, "dice"))
        dice_state = number | 1;
    else if (!strcmp(name, "hash"))
        native_start(number);
    else if (!strcmp(name, "tick"))
        native_tick = number;
    else if (!strcmp(name, "passes"))
        reasons.passes = number;
    else if (!strcmp(name, "by-lanes"))
        reasons.lanes = number;
    else if (!strcmp(name, "malformed-reasons"))
        reasons.malformed = number;
    else if (!strcmp(name, "limited"))
        limited = number;
    else if (!strcmp(name, "used-reasons"))
        reasons.used = number;
    else {
        fprintf(stderr, "fuzz driver: no setting %s\n", name);
        exit(2);
    }
}

static void read_plan(FILE *plan)
{
    char line[1024], name[32], first[512], second[512];
    while (fgets(line, sizeof(line), plan)) {
        u8 key[64] = {0}, value[64] = {0};
        int fd, frozen, family, bits, role;
        unsigned long size;
        unsigned number;
        if (sscanf(line, "map %31s %d %lu %d", name, &fd, &size, &frozen) == 4) {
            add_array(name, fd, size, frozen);
            copy_to_native(&arrays[array_count - 1]);
        } else if (sscanf(line, "ring %d %lu", &fd, &size) == 2) {
            open_ring(&ring, fd, size);
            has_ring = 1;
        } else if (sscanf(line, "role %d %d %d %40s", &family, &bits, &role, first) == 4 && role_count < MOST_ROLES) {
            struct role_entry *entry = &roles[role_count++];
            *entry = (struct role_entry){.family = family, .bits = bits, .role = role};
            from_hex(first, entry->address, 16);
        } else if (sscanf(line, "pair %16s %40s", first, second) == 2 && pair_count < MOST_PAIRS) {
            from_hex(first, pairs[pair_count].v4, 4);
            from_hex(second, pairs[pair_count++].v6, 16);
        } else if (sscanf(line, "entry %31s %100s %100s", name, first, second) == 3) {
            from_hex(first, key, sizeof(key));
            from_hex(second, value, sizeof(value));
            native_put(name, key, value);
        } else if (sscanf(line, "reason %31s %u", name, &number) == 2) {
            if (reason_named(name))
                *reason_named(name) = number;
        } else if (sscanf(line, "%31s %500s", name, first) == 2) {
            read_setting(name, first);
        }
    }
}

#endif
