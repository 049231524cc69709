/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Sends stored frames one after the other, again and again, out of the interface that the run names (XDP_TX). Driven
 * by BPF_PROG_TEST_RUN with live frames by one thread (xdpwall/lab/pusher.py).
 *
 * -D: FRAMES entries of that map; SLOT bytes of the longest frame, a multiple of 8.
 */

/* Key: place in the capture. Written by the lab, frames ready to send. */
struct frame {
    __u32 length; /* 60 to SLOT */
    __u32 kind;   /* key of the tally: 0 UDP, 1 TCP SYN, 2 other TCP, 3 all else */
    __u8 bytes[SLOT];
};
BPF_F_TABLE("array", __u32, struct frame, frames, FRAMES, 1024);

/* Key 0: state of the run. */
struct plan {
    __u64 packets;
    __u64 first_ns; /* CLOCK_MONOTONIC of the first packet */
    __u32 at;       /* the next frame */
    __u32 count;    /* how many there are */
};
BPF_F_TABLE("array", __u32, struct plan, plan, 1, 1024);

/* Key: kind. Value: what was sent. */
struct sent {
    __u64 packets;
    __u64 bytes;
};
BPF_F_TABLE("array", __u32, struct sent, sent, 4, 1024);

int push(struct xdp_md *ctx)
{
    __u32 zero = 0;
    struct plan *state = plan.lookup(&zero);
    if (!state) {
        return XDP_ABORTED;
    }
    __u32 at = state->at;
    struct frame *frame = frames.lookup(&at);
    if (!frame) {
        return XDP_ABORTED;
    }
    at++;
    state->at = at < state->count ? at : 0;
    __u32 kind = frame->kind & 3;
    struct sent *tally = sent.lookup(&kind);
    /*
     * Two comparisons of one register: newer clangs (bcc 0.31) make one of them, of length - 60, and the verifier then
     * knows no bounds of length itself. The empty asm keeps them apart.
     */
    __u64 length = frame->length;
    if (!tally || length < 60) {
        return XDP_ABORTED;
    }
    asm volatile("" : "+r"(length));
    if (length > SLOT) {
        return XDP_ABORTED;
    }
    if (bpf_xdp_adjust_tail(ctx, (int)length - SLOT)) {
        return XDP_ABORTED;
    }
    if (bpf_xdp_store_bytes(ctx, 0, frame->bytes, length)) {
        return XDP_ABORTED;
    }
    tally->packets++;
    tally->bytes += length;
    if (!state->packets) {
        state->first_ns = bpf_ktime_get_ns();
    }
    state->packets++;
    return XDP_TX;
}
