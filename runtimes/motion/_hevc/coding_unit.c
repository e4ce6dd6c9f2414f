/* 7.3.8.5 and 7.3.8.7: the coding unit. */
#include "hevc.h"

enum { INTRA_DC = 1 };

static int skip_context(const Decoder *d, int x0, int y0) { /* 9.3.4.2.2: how many neighbours are skipped */
    int ctxInc = 0, at = (y0 >> 3) * d->across8 + (x0 >> 3);
    if (available_z(d, x0, y0, x0 - 1, y0)) ctxInc += (d->coded[at - 1] & 7) == MODE_SKIP + 1;
    if (available_z(d, x0, y0, x0, y0 - 1)) ctxInc += (d->coded[at - d->across8] & 7) == MODE_SKIP + 1;
    return ctxInc;
}

/* 9.3.3.7: binarization of part_mode */
static int part_mode(Decoder *d, int predMode, int log2CbSize) {
    Cabac *cabac = &d->cabac;
    uint8_t *contexts = d->contexts + PART_MODE;
    if (decode_decision(cabac, contexts)) return PART_2Nx2N;
    if (predMode == MODE_INTRA) return PART_NxN;
    if (log2CbSize == d->active_sps.MinCbLog2SizeY) {
        if (decode_decision(cabac, contexts + 1)) return PART_2NxN;
        if (log2CbSize == 3) return PART_Nx2N;
        return decode_decision(cabac, contexts + 2) ? PART_Nx2N : PART_NxN;
    }
    int horizontal = decode_decision(cabac, contexts + 1);
    if (!d->active_sps.amp_enabled_flag || decode_decision(cabac, contexts + 3))
        return horizontal ? PART_2NxN : PART_Nx2N;
    int second = decode_bypass(cabac);
    return (horizontal ? PART_2NxnU : PART_nLx2N) + second;
}

/* Where each PartMode cuts, in quarters of the coding block */
static const uint8_t parts[8] = {1, 2, 2, 4, 2, 2, 2, 2};
static const uint8_t part_box[8][4][4] = { /* x, y, width, height */
    [PART_2Nx2N] = {{0, 0, 4, 4}},
    [PART_2NxN] = {{0, 0, 4, 2}, {0, 2, 4, 2}},
    [PART_Nx2N] = {{0, 0, 2, 4}, {2, 0, 2, 4}},
    [PART_NxN] = {{0, 0, 2, 2}, {2, 0, 2, 2}, {0, 2, 2, 2}, {2, 2, 2, 2}},
    [PART_2NxnU] = {{0, 0, 4, 1}, {0, 1, 4, 3}},
    [PART_2NxnD] = {{0, 0, 4, 3}, {0, 3, 4, 1}},
    [PART_nLx2N] = {{0, 0, 1, 4}, {1, 0, 3, 4}},
    [PART_nRx2N] = {{0, 0, 3, 4}, {3, 0, 1, 4}},
};

/* 7.3.8.7: samples as they are, which nobody looks at */
static void pcm_sample(Decoder *d, int log2CbSize) {
    const SeqParameterSet *sps = &d->active_sps;
    uint32_t samples = 1u << (2 * log2CbSize), bits = samples * (uint32_t)sps->PcmBitDepthY;
    if (sps->ChromaArrayType) bits += samples / 2 * (uint32_t)sps->PcmBitDepthC;
    const uint8_t *start = cabac_position(&d->cabac), *end = d->cabac.end;
    uint32_t bytes = (bits + 7) / 8;
    cabac_start(&d->cabac, (uint32_t)(end - start) < bytes ? end : start + bytes, end);
}

/* Intra prediction modes of a coding unit: all flags first, then all modes. */
static void intra_modes(Decoder *d, int x0, int y0, int log2CbSize) {
    Cabac *cabac = &d->cabac;
    int NxN = d->cu.partMode == PART_NxN, count = NxN ? 4 : 1, size = (1 << log2CbSize) >> NxN, coded[4];
    for (int i = 0; i < count; i++) coded[i] = decode_decision(cabac, d->contexts + PREV_INTRA_LUMA_PRED_FLAG);
    for (int i = 0; i < count; i++) {
        int mpm_idx = 0, rem_intra_luma_pred_mode = -1, x = x0 + (i & 1) * size, y = y0 + (i >> 1) * size;
        if (coded[i])
            mpm_idx = decode_bypass(cabac) ? 1 + decode_bypass(cabac) : 0;
        else
            rem_intra_luma_pred_mode = (int)(decode_bypass_bins(cabac, 5) & 31);
        fill_intra_mode(d, x, y, size, intra_luma_mode(d, x, y, mpm_idx, rem_intra_luma_pred_mode));
    }
    if (!d->active_sps.ChromaArrayType) return;
    /* 8.4.3: IntraPredModeC; 4 says that it is the luma block's. */
    static const uint8_t modes[4] = {0, 26, 10, 1};
    int luma = d->intra_mode[(y0 >> 2) * d->across4 + (x0 >> 2)];
    int intra_chroma_pred_mode = 4;
    if (decode_decision(cabac, d->contexts + INTRA_CHROMA_PRED_MODE))
        intra_chroma_pred_mode = (int)(decode_bypass_bins(cabac, 2) & 3);
    d->cu.intraChroma = luma;
    if (intra_chroma_pred_mode < 4)
        d->cu.intraChroma = modes[intra_chroma_pred_mode] == luma ? 34 : modes[intra_chroma_pred_mode];
}

/* The map of modes and depths that later units look at, and the intra modes where there are none */
static void remember(Decoder *d, int x0, int y0, int log2CbSize) {
    int count = 1 << (log2CbSize - 3), value = d->cu.predMode + 1 + d->cu.ctDepth * 8;
    for (int y = y0 >> 3; y < (y0 >> 3) + count; y++)
        __builtin_memset(d->coded + y * d->across8 + (x0 >> 3), value, (size_t)count);
}

/* 7.3.8.5 */
void coding_unit(Decoder *d, int x0, int y0, int log2CbSize, int cqtDepth) {
    const SeqParameterSet *sps = &d->active_sps;
    Cabac *cabac = &d->cabac;
    CodingUnit *cu = &d->cu;
    int size = 1 << log2CbSize, merged = 0, pcm_flag = 0;
    *cu = (CodingUnit){x0, y0, log2CbSize, MODE_INTRA, PART_2Nx2N, 0, cqtDepth, INTRA_DC, 0};
    if (d->active_pps.transquant_bypass_enabled_flag)
        cu->bypass = decode_decision(cabac, d->contexts + CU_TRANSQUANT_BYPASS_FLAG);
    if (d->slice.slice_type != SLICE_I) {
        int ctxInc = skip_context(d, x0, y0);
        if (decode_decision(cabac, d->contexts + CU_SKIP_FLAG + ctxInc)) {
            cu->predMode = MODE_SKIP;
            remember(d, x0, y0, log2CbSize);
            fill_intra_mode(d, x0, y0, size, INTRA_DC);
            prediction_unit(d, x0, y0, size, size, 0);
            return;
        }
        cu->predMode = decode_decision(cabac, d->contexts + PRED_MODE_FLAG) ? MODE_INTRA : MODE_INTER;
    }
    remember(d, x0, y0, log2CbSize);
    if (cu->predMode != MODE_INTRA || log2CbSize == sps->MinCbLog2SizeY)
        cu->partMode = part_mode(d, cu->predMode, log2CbSize);
    if (cu->predMode == MODE_INTRA) {
        if (cu->partMode == PART_2Nx2N && sps->pcm_enabled_flag && log2CbSize >= sps->Log2MinIpcmCbSizeY &&
            log2CbSize <= sps->Log2MaxIpcmCbSizeY)
            pcm_flag = decode_terminate(cabac);
        if (pcm_flag) {
            pcm_sample(d, log2CbSize);
            fill_intra_mode(d, x0, y0, size, INTRA_DC);
        } else {
            intra_modes(d, x0, y0, log2CbSize);
        }
    } else {
        fill_intra_mode(d, x0, y0, size, INTRA_DC);
        int quarter = size >> 2;
        for (int i = 0; i < parts[cu->partMode]; i++) {
            const uint8_t *box = part_box[cu->partMode][i];
            merged = prediction_unit(d, x0 + box[0] * quarter, y0 + box[1] * quarter, box[2] * quarter,
                                     box[3] * quarter, i);
        }
    }
    if (pcm_flag) return;
    if (cu->predMode != MODE_INTRA && !(cu->partMode == PART_2Nx2N && merged) &&
        !decode_decision(cabac, d->contexts + RQT_ROOT_CBF))
        return;
    cu->maxTrafoDepth = cu->predMode == MODE_INTRA
                            ? sps->max_transform_hierarchy_depth_intra + (cu->partMode == PART_NxN)
                            : sps->max_transform_hierarchy_depth_inter;
    transform_tree(d, x0, y0, log2CbSize, 0, 0, 3);
}
