/* What the caller sees: a block of memory in, pictures out. */
#include "hevc.h"

#define EXPORT __attribute__((visibility("default"), used))

EXPORT Decoder *hevc_create(void *memory, size_t size, int32_t keep_blocks) {
    if (size < sizeof(Decoder) + 4096) return 0;
    Decoder *d = memory;
    __builtin_memset(d, 0, sizeof *d);
    d->arena.start = memory;
    d->arena.size = d->arena.limit = size - CABAC_PADDING;
    __builtin_memset(d->arena.start + d->arena.size, 0, CABAC_PADDING);
    d->sequence_start = d->arena.used = (sizeof *d + 15) & ~(size_t)15;
    d->keep_blocks = keep_blocks;
    d->first_picture = 1;
    for (int y = 0; y < 16; y++) {
        for (int x = 0; x < 16; x++) {
            for (int bit = 0; bit < 4; bit++)
                d->z_order[y][x] |= (uint8_t)((x >> bit & 1) << (2 * bit) | (y >> bit & 1) << (2 * bit + 1));
        }
    }
    return d;
}

/* After a seek, or where packets were lost: the next random access point starts anew. */
EXPORT void hevc_restart(Decoder *d) {
    d->first_picture = 1;
    d->picture_open = d->picture_ready = 0;
    d->input = d->input_end = 0;
}

/* Where the caller writes its next packet: at the end of the memory. 0: it does not fit. */
EXPORT uint8_t *hevc_input(Decoder *d, uint32_t size) {
    if (size > d->arena.size - d->arena.used) return 0;
    return d->arena.start + d->arena.size - size;
}

/* What lies in the input is a packet. Its framing may contradict the container's word for it. */
EXPORT void hevc_start_packet(Decoder *d, uint32_t size, int32_t length_size) {
    if (size > d->arena.size - d->arena.used) size = 0;
    d->arena.limit = d->arena.size - size;
    const uint8_t *data = d->arena.start + d->arena.limit;
    /* A length of 256 to 511 looks like the short start code; no access unit begins with that one (B.1.2). */
    int long_code = size >= 4 && !data[0] && !data[1] && !data[2] && data[3] == 1;
    int start_code = long_code || (size >= 4 && !data[0] && !data[1] && data[2] == 1);
    if (length_size && start_code && !lengths_fit(data, size, length_size)) length_size = 0;
    if (!length_size && !long_code && lengths_fit(data, size, 4)) length_size = 4;
    d->length_size = length_size;
    d->input = data;
    d->input_end = data + size;
}

static Reason slice_nal_unit(Decoder *d) {
    Reason reason = slice_segment_header(d, &d->bits, d->nal_unit_type);
    if (reason) return reason;
    if (d->incoming.first_slice_segment_in_pic_flag && (reason = start_picture(d))) return reason;
    if (d->info.nal_unit_type != d->nal_unit_type) return SLICE_LOST;
    int ts = (int)d->CtbAddrRsToTs[d->incoming.slice_segment_address];
    int dependent = d->incoming.dependent_slice_segment_flag;
    if (ts < d->next_ctb_ts || (dependent && (ts != d->next_ctb_ts || !d->saved_segment_valid))) return SLICE_LOST;
    if (d->incoming.slice_pic_order_cnt_lsb != d->slice.slice_pic_order_cnt_lsb &&
        !d->incoming.first_slice_segment_in_pic_flag)
        return SLICE_LOST;
    d->saved_segment_valid = 0;
    d->slice = d->incoming;
    if (!dependent) {
        d->current_slice_addr = d->slice.slice_segment_address;
        d->info.slices++;
        reason = set_up_reference_lists(d);
        if (reason) return reason;
    }
    if (d->slice.slice_type == SLICE_P && d->info.picture_type == 'I') d->info.picture_type = 'P';
    if (d->slice.slice_type == SLICE_B) d->info.picture_type = 'B';
    reason = slice_segment_data(d);
    if (reason) distrust_slice(d);
    return reason;
}

static Reason one_nal_unit(Decoder *d, uint8_t *nal, uint32_t size) {
    if (size < 3 || nal[0] >> 7) return DAMAGED; /* 7.3.1.2, forbidden_zero_bit */
    int nal_unit_type = nal[0] >> 1 & 63, nuh_layer_id = (nal[0] & 1) << 5 | nal[1] >> 3;
    int temporal_id = (nal[1] & 7) - 1;
    if (nuh_layer_id) return OK; /* further layers: a decoder of version 1 ignores them (F.3) */
    if (temporal_id < 0) return DAMAGED;
    int slice = nal_unit_type <= RASL_R || (nal_unit_type >= BLA_W_LP && nal_unit_type <= CRA_NUT);
    if (!slice && nal_unit_type != SPS_NUT && nal_unit_type != PPS_NUT) return OK;
    d->bits = (Bits){nal + 2, remove_emulation_prevention(nal + 2, size - 2), 0, 0};
    if (nal_unit_type == SPS_NUT) return seq_parameter_set(d, &d->bits);
    if (nal_unit_type == PPS_NUT) return pic_parameter_set(d, &d->bits);
    d->nal_unit_type = nal_unit_type;
    d->temporal_id = temporal_id;
    return slice_nal_unit(d);
}

/* Reads on until a picture is complete: 1, or the packet is used up: 0. */
EXPORT int32_t hevc_next_picture(Decoder *d) {
    const uint8_t *nal;
    uint32_t size;
    d->picture_ready = 0;
    for (;;) {
        const uint8_t *before = d->input;
        if (!next_nal_unit(d, &nal, &size)) {
            finish_picture(d); /* a packet is an access unit */
            return d->picture_ready;
        }
        int nal_unit_type = size ? nal[0] >> 1 & 63 : VPS_NUT;
        int vcl = nal_unit_type < VPS_NUT, first = vcl && size > 2 && nal[2] >> 7;
        int base = size > 1 && !((nal[0] & 1) << 5 | nal[1] >> 3);
        /* 7.4.2.4.4: parameter sets and a first slice begin a new access unit */
        if (d->picture_open && base && (first || (nal_unit_type >= VPS_NUT && nal_unit_type <= EOB_NUT))) {
            d->input = before;
            finish_picture(d);
            return 1;
        }
        if (nal_unit_type == EOS_NUT || nal_unit_type == EOB_NUT) d->first_picture = 1;
        if (!size || (nal_unit_type >= EOS_NUT && size < 3)) continue;
        d->reasons |= 1 << one_nal_unit(d, (uint8_t *)(uintptr_t)nal, size);
    }
}

EXPORT const PictureInfo *hevc_picture(const Decoder *d) { return &d->info; }
EXPORT const Cell *hevc_cells(const Decoder *d) { return d->cells; }
EXPORT const Cell *hevc_blocks(const Decoder *d) { return d->blocks; }

/* Which reasons were met since the last call: bit n is Reason n. */
EXPORT int32_t hevc_reasons(Decoder *d) {
    int32_t reasons = d->reasons & ~1;
    d->reasons = 0;
    return reasons;
}
