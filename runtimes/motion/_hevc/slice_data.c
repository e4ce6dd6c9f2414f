/* 7.3.8.1 to 7.3.8.3, 9.3.1 and 9.3.2: tree blocks of a slice segment, and CABAC's states between them. */
#include "hevc.h"

/* 6.4.1, z-scan order availability */
int available_z(const Decoder *d, int xCurr, int yCurr, int xNbY, int yNbY) {
    if (xNbY < 0 || yNbY < 0 || xNbY >= d->active_sps.width || yNbY >= d->active_sps.height) return 0;
    int log2 = d->active_sps.CtbLog2SizeY, inner = (1 << log2) - 1;
    int ctbCurr = (yCurr >> log2) * d->active_sps.PicWidthInCtbsY + (xCurr >> log2);
    int ctbNb = (yNbY >> log2) * d->active_sps.PicWidthInCtbsY + (xNbY >> log2);
    if (ctbCurr == ctbNb)
        return d->z_order[(yNbY & inner) >> 2][(xNbY & inner) >> 2] <=
               d->z_order[(yCurr & inner) >> 2][(xCurr & inner) >> 2];
    return d->SliceAddrRs[ctbNb] == d->current_slice_addr && d->TileId[ctbNb] == d->TileId[ctbCurr];
}

/* 7.3.8.3: sample adaptive offset, whose values are not needed */
static void sao(Decoder *d, int xCtb, int yCtb) {
    const SliceHeader *slice = &d->slice;
    if (!slice->slice_sao_luma_flag && !slice->slice_sao_chroma_flag) return;
    Cabac *cabac = &d->cabac;
    int size = 1 << d->active_sps.CtbLog2SizeY;
    if (available_z(d, xCtb, yCtb, xCtb - size, yCtb) && decode_decision(cabac, d->contexts + SAO_MERGE)) return;
    if (available_z(d, xCtb, yCtb, xCtb, yCtb - size) && decode_decision(cabac, d->contexts + SAO_MERGE)) return;
    int type = 0;
    for (int cIdx = 0; cIdx < (d->active_sps.ChromaArrayType ? 3 : 1); cIdx++) {
        if (!(cIdx ? slice->slice_sao_chroma_flag : slice->slice_sao_luma_flag)) continue;
        if (cIdx < 2) { /* 1: band offset, 2: edge offset */
            type = decode_decision(cabac, d->contexts + SAO_TYPE_IDX) ? 1 + decode_bypass(cabac) : 0;
        }
        if (!type) continue;
        int bitDepth = cIdx ? d->active_sps.BitDepthC : d->active_sps.BitDepthY;
        int cMax = (1 << (min(bitDepth, 10) - 5)) - 1, nonzero = 0;
        for (int i = 0; i < 4; i++) {
            int sao_offset_abs = 0;
            while (sao_offset_abs < cMax && decode_bypass(cabac)) sao_offset_abs++;
            nonzero += sao_offset_abs > 0;
        }
        if (type == 1)
            decode_bypass_bins(cabac, nonzero + 5); /* signs, sao_band_position */
        else if (cIdx < 2)
            decode_bypass_bins(cabac, 2);           /* sao_eo_class */
    }
}

static void init_contexts(Decoder *d) { /* 9.3.2.2, initType */
    int type = d->slice.slice_type, initType = 0;
    if (type == SLICE_P) initType = d->slice.cabac_init_flag ? 2 : 1;
    if (type == SLICE_B) initType = d->slice.cabac_init_flag ? 1 : 2;
    cabac_init_contexts(d->contexts, initType, d->slice.SliceQpY);
}

/* Whether a tree block is the first of a row of its tile */
static int starts_row(const Decoder *d, uint32_t rs) {
    return rs % (uint32_t)d->active_sps.PicWidthInCtbsY == 0 || d->TileId[rs] != d->TileId[rs - 1];
}

/* 9.3.1: contexts at the first tree block of a slice segment, tile or (wavefronts) row */
static void prepare_contexts(Decoder *d, uint32_t ts, int starts_segment) {
    uint32_t rs = d->CtbAddrTsToRs[ts];
    int starts_tile = ts == 0 || d->TileId[rs] != d->TileId[d->CtbAddrTsToRs[ts - 1]];
    int wavefront = d->active_pps.entropy_coding_sync_enabled_flag && starts_row(d, rs);
    if (!starts_tile && wavefront) {
        int log2 = d->active_sps.CtbLog2SizeY, across = d->active_sps.PicWidthInCtbsY;
        int x = (int)rs % across << log2, y = (int)rs / across << log2, size = 1 << log2;
        if (available_z(d, x, y, x + size, y - size)) {
            __builtin_memcpy(d->contexts, d->saved_wpp, CONTEXTS);
            return;
        }
    } else if (!starts_tile && starts_segment && d->slice.dependent_slice_segment_flag) {
        __builtin_memcpy(d->contexts, d->saved_segment, CONTEXTS);
        return;
    }
    init_contexts(d);
}

/* 7.3.8.2 */
static void coding_tree_unit(Decoder *d, uint32_t rs) {
    int log2 = d->active_sps.CtbLog2SizeY, across = d->active_sps.PicWidthInCtbsY;
    int xCtb = (int)rs % across << log2, yCtb = (int)rs / across << log2;
    sao(d, xCtb, yCtb);
    coding_quadtree(d, xCtb, yCtb, log2, 0);
    if (cabac_past_end(&d->cabac)) return; /* made of nothing: it stays a hole */
    store_ctu(d, xCtb, yCtb);
    d->info.ctus++;
}

/* 7.3.2.10: behind a slice there are zeros at most. Anything else says that the bins went astray before. */
static int only_zeros(const uint8_t *at, const uint8_t *end) {
    while (at < end && !*at) at++;
    return at == end;
}

/* 7.3.8.1. The header is d->slice, its data begins where d->bits stands. */
Reason slice_segment_data(Decoder *d) {
    const SeqParameterSet *sps = &d->active_sps;
    const PicParameterSet *pps = &d->active_pps;
    uint32_t PicSizeInCtbsY = (uint32_t)(sps->PicWidthInCtbsY * sps->PicHeightInCtbsY);
    const uint8_t *end = d->bits.data + d->bits.size;
    uint32_t ts = d->CtbAddrRsToTs[d->slice.slice_segment_address];
    cabac_start(&d->cabac, d->bits.data + (d->bits.position >> 3), end);
    prepare_contexts(d, ts, 1);
    d->IsCuQpDeltaCoded = 0;
    for (;;) {
        uint32_t rs = d->CtbAddrTsToRs[ts];
        d->SliceAddrRs[rs] = d->current_slice_addr;
        coding_tree_unit(d, rs);
        d->next_ctb_ts = (int32_t)++ts;
        int end_of_slice_segment_flag = decode_terminate(&d->cabac);
        if (cabac_past_end(&d->cabac)) return TRUNCATED;
        /* 9.3.2.4: after the second tree block of a row */
        if (pps->entropy_coding_sync_enabled_flag && !starts_row(d, rs) && starts_row(d, rs - 1))
            __builtin_memcpy(d->saved_wpp, d->contexts, CONTEXTS);
        if (end_of_slice_segment_flag) {
            __builtin_memcpy(d->saved_segment, d->contexts, CONTEXTS);
            d->saved_segment_valid = 1;
            return only_zeros(cabac_position(&d->cabac), end) ? OK : DAMAGED;
        }
        if (ts >= PicSizeInCtbsY) return DAMAGED;
        uint32_t next = d->CtbAddrTsToRs[ts];
        if (d->SliceAddrRs[next] != -1) return DAMAGED;
        int new_tile = d->TileId[next] != d->TileId[rs];
        if (new_tile || (pps->entropy_coding_sync_enabled_flag && starts_row(d, next))) {
            if (!decode_terminate(&d->cabac)) return DAMAGED; /* end_of_subset_one_bit */
            cabac_start(&d->cabac, cabac_position(&d->cabac), end);
            prepare_contexts(d, ts, 0);
        }
    }
}
