/* 7.3.8.6, 7.3.8.9 and 8.5.3.2.1: the prediction unit and its motion. */
#include "hevc.h"

/* 6.4.2: the motion of a neighbouring prediction block, or none */
const Motion *neighbour(const Decoder *d, int xPb, int yPb, int nPbW, int nPbH, int partIdx, int xNbY, int yNbY) {
    const CodingUnit *cu = &d->cu;
    int size = 1 << cu->log2Size;
    if (cu->x <= xNbY && cu->y <= yNbY && cu->x + size > xNbY && cu->y + size > yNbY) {
        int not_yet = nPbW << 1 == size && nPbH << 1 == size && partIdx == 1 && cu->y + nPbH <= yNbY &&
                      cu->x + nPbW > xNbY;
        if (not_yet) return 0;
    } else if (!available_z(d, xPb, yPb, xNbY, yNbY)) {
        return 0;
    }
    int mode = (d->coded[(yNbY >> 3) * d->across8 + (xNbY >> 3)] & 7) - 1;
    if (mode != MODE_INTER && mode != MODE_SKIP) return 0;
    return &d->motion[(yNbY >> 2) * d->across4 + (xNbY >> 2)];
}

static int merge_idx(Decoder *d) {
    int cMax = d->slice.MaxNumMergeCand - 1;
    if (cMax < 1 || !decode_decision(&d->cabac, d->contexts + MERGE_IDX)) return 0;
    int value = 1;
    while (value < cMax && decode_bypass(&d->cabac)) value++;
    return value;
}

static int ref_idx(Decoder *d, int X) { /* table 9-33: two bins with contexts */
    int cMax = d->slice.num_ref_idx_active[X] - 1, value = 0;
    while (value < cMax && value < 2 && decode_decision(&d->cabac, d->contexts + REF_IDX + value)) value++;
    if (value < 2) return value;
    while (value < cMax && decode_bypass(&d->cabac)) value++;
    return value;
}

/* abs_mvd_minus2 in EG1 and mvd_sign_flag */
static int mvd_rest(Cabac *cabac, int greater1) {
    uint32_t value = 1;
    if (greater1) {
        int k = 1;
        value = 2;
        while (k < 16 && decode_bypass(cabac)) value += 1u << k++;
        value += decode_bypass_bins(cabac, k) & ((1u << k) - 1);
    }
    return decode_bypass(cabac) ? -(int)value : (int)value;
}

/* 7.3.8.9 */
static void mvd_coding(Decoder *d, int mvd[2]) {
    Cabac *cabac = &d->cabac;
    uint8_t *contexts = d->contexts + ABS_MVD_GREATER;
    int greater0_x = decode_decision(cabac, contexts), greater0_y = decode_decision(cabac, contexts);
    int greater1_x = greater0_x && decode_decision(cabac, contexts + 1);
    int greater1_y = greater0_y && decode_decision(cabac, contexts + 1);
    mvd[0] = greater0_x ? mvd_rest(cabac, greater1_x) : 0;
    mvd[1] = greater0_y ? mvd_rest(cabac, greater1_y) : 0;
}

static int inter_pred_idc(Decoder *d, int nPbW, int nPbH) { /* as predFlags: bit X for list X */
    if (d->slice.slice_type == SLICE_P) return 1;
    uint8_t *contexts = d->contexts + INTER_PRED_IDC;
    if (nPbW + nPbH != 12 && decode_decision(&d->cabac, contexts + d->cu.ctDepth)) return 3;
    return decode_decision(&d->cabac, contexts + 4) ? 2 : 1;
}

/* The motion that is coded as a choice of references and differences */
static Motion coded_motion(Decoder *d, int xPb, int yPb, int nPbW, int nPbH, int partIdx) {
    Motion motion = {{{0, 0}, {0, 0}}, {-1, -1}, 0, 0};
    int mvd[2][2] = {{0}}, mvp_flag[2] = {0};
    motion.predFlags = (uint8_t)inter_pred_idc(d, nPbW, nPbH);
    for (int X = 0; X < 2; X++) {
        if (!(motion.predFlags >> X & 1)) continue;
        motion.ref_idx[X] = (int8_t)ref_idx(d, X);
        if (!(X && d->slice.mvd_l1_zero_flag && motion.predFlags == 3)) mvd_coding(d, mvd[X]);
        mvp_flag[X] = decode_decision(&d->cabac, d->contexts + MVP_FLAG);
    }
    for (int X = 0; X < 2; X++) {
        if (!(motion.predFlags >> X & 1)) continue;
        Mv mvp = predict_mv(d, xPb, yPb, nPbW, nPbH, partIdx, X, motion.ref_idx[X], mvp_flag[X], &motion.inexact);
        /* 8.5.3.2.1: modulo 2 to the 16th */
        motion.mv[X].x = (int16_t)(uint16_t)(mvp.x + mvd[X][0]);
        motion.mv[X].y = (int16_t)(uint16_t)(mvp.y + mvd[X][1]);
    }
    return motion;
}

/* 7.3.8.6. Returns merge_flag. */
int prediction_unit(Decoder *d, int xPb, int yPb, int nPbW, int nPbH, int partIdx) {
    Motion motion;
    int merge_flag = d->cu.predMode == MODE_SKIP || decode_decision(&d->cabac, d->contexts + MERGE_FLAG);
    if (merge_flag)
        motion = merge_motion(d, xPb, yPb, nPbW, nPbH, partIdx, merge_idx(d));
    else
        motion = coded_motion(d, xPb, yPb, nPbW, nPbH, partIdx);
    for (int y = yPb >> 2; y < (yPb + nPbH) >> 2; y++) {
        Motion *row = d->motion + y * d->across4 + (xPb >> 2);
        for (int x = 0; x < nPbW >> 2; x++) row[x] = motion;
    }
    return merge_flag;
}
