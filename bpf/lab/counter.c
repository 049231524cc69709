/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Counts what has come through the wall. A tc program (clsact, ingress): the kernel runs it after XDP and before the
 * stack, so it sees exactly the packets that the wall let by. It changes nothing and lets everything go on.
 *
 * Packets of the lab's generators carry a mark in their source MAC address: 02:78:77:a7:CC:00, CC is the class (see
 * xdpwall/lab/marks.py). Everything else is counted as the last class.
 */

#define CLASSES 16
#define UNMARKED (CLASSES - 1)
/* The first four bytes of the mark as a little-endian number; the lab is for machines of that order only. */
#define MARK 0xa7777802
#define TC_ACT_UNSPEC_ (-1) /* "no opinion": whoever comes next decides */

struct passed {
    __u64 packets;
    __u64 bytes;
};

/* Key: class. Value: what came through since the start; each CPU writes its own. Read by the lab. */
BPF_PERCPU_ARRAY(passed, struct passed, CLASSES);

int count(struct __sk_buff *skb)
{
    void *data = (void *)(long)skb->data;
    void *end = (void *)(long)skb->data_end;
    __u32 class = UNMARKED;
    /* Ethernet: 6 bytes of destination, 6 of source. */
    if (data + 12 <= end) {
        __u8 *source = data + 6;
        __u32 mark = source[0] | source[1] << 8 | source[2] << 16 | (__u32)source[3] << 24;
        if (mark == MARK && source[4] < UNMARKED) {
            class = source[4];
        }
    }
    struct passed *entry = passed.lookup(&class);
    if (entry) {
        /* Receive offload may have joined several packets into this one. */
        entry->packets += skb->gso_segs > 1 ? skb->gso_segs : 1;
        entry->bytes += skb->len;
    }
    return TC_ACT_UNSPEC_;
}
