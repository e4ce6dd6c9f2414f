/* 7.3.8.8, 7.3.8.10 and 7.3.8.14: the transform tree, its units, and the quantiser's change. */
#include "hevc.h"

static void cu_qp_delta(Decoder *d) { /* 9.3.3.10; the value moves no vector */
    Cabac *cabac = &d->cabac;
    int prefix = 0;
    while (prefix < 5 && decode_decision(cabac, d->contexts + CU_QP_DELTA_ABS + (prefix > 0))) prefix++;
    int nonzero = prefix > 0;
    if (prefix == 5) { /* EG0 */
        int k = 0;
        while (k < 16 && decode_bypass(cabac)) k++;
        if (k) decode_bypass_bins(cabac, k);
    }
    if (nonzero) decode_bypass(cabac);
    d->IsCuQpDeltaCoded = 1;
}

/* 7.4.9.11: 6 to 14 are near horizontal and scan vertically, 22 to 30 the other way. */
static int scan_of_mode(int mode) { return mode >= 6 && mode <= 14 ? 2 : mode >= 22 && mode <= 30 ? 1 : 0; }

/* 7.3.8.10. Bit 0 of `cbf`: cbf_cb, bit 1: cbf_cr. */
static void transform_unit(Decoder *d, int x0, int y0, int log2TrafoSize, int blkIdx, int cbf_luma, int cbf) {
    if (!cbf_luma && !cbf) return;
    if (d->active_pps.cu_qp_delta_enabled_flag && !d->IsCuQpDeltaCoded) cu_qp_delta(d);
    int intra = d->cu.predMode == MODE_INTRA;
    if (cbf_luma) {
        int luma = d->intra_mode[(y0 >> 2) * d->across4 + (x0 >> 2)];
        residual_coding(d, log2TrafoSize, 0, intra && log2TrafoSize <= 3 ? scan_of_mode(luma) : 0);
    }
    /* Four luma blocks of 4x4 share the chroma blocks that follow the last of them. */
    if (!cbf || (log2TrafoSize == 2 && blkIdx != 3)) return;
    int log2TrafoSizeC = max(2, log2TrafoSize - 1);
    int scanIdx = intra && log2TrafoSizeC == 2 ? scan_of_mode(d->cu.intraChroma) : 0;
    if (cbf & 1) residual_coding(d, log2TrafoSizeC, 1, scanIdx);
    if (cbf & 2) residual_coding(d, log2TrafoSizeC, 2, scanIdx);
}

/* 7.3.8.8 */
void transform_tree(Decoder *d, int x0, int y0, int log2TrafoSize, int trafoDepth,
                    int blkIdx, int parentCbf) {
    const SeqParameterSet *sps = &d->active_sps;
    const CodingUnit *cu = &d->cu;
    Cabac *cabac = &d->cabac;
    int IntraSplitFlag = cu->predMode == MODE_INTRA && cu->partMode == PART_NxN;
    int split;
    if (log2TrafoSize <= sps->MaxTbLog2SizeY && log2TrafoSize > sps->MinTbLog2SizeY &&
        trafoDepth < cu->maxTrafoDepth && !(IntraSplitFlag && !trafoDepth)) {
        split = decode_decision(cabac, d->contexts + SPLIT_TRANSFORM_FLAG + 5 - log2TrafoSize);
    } else {
        int interSplitFlag = !sps->max_transform_hierarchy_depth_inter && cu->predMode != MODE_INTRA &&
                             cu->partMode != PART_2Nx2N && !trafoDepth;
        split = log2TrafoSize > sps->MaxTbLog2SizeY || (IntraSplitFlag && !trafoDepth) || interSplitFlag;
    }
    int cbf = 0;
    if (sps->ChromaArrayType) {
        if (log2TrafoSize == 2) {
            cbf = parentCbf;
        } else {
            for (int c = 0; c < 2; c++) {
                if (parentCbf >> c & 1) cbf |= decode_decision(cabac, d->contexts + CBF_CHROMA + trafoDepth) << c;
            }
        }
    }
    if (split) {
        int half = 1 << (log2TrafoSize - 1);
        for (int i = 0; i < 4; i++)
            transform_tree(d, x0 + (i & 1) * half, y0 + (i >> 1) * half, log2TrafoSize - 1, trafoDepth + 1, i, cbf);
        return;
    }
    int cbf_luma = 1;
    if (cu->predMode == MODE_INTRA || trafoDepth || cbf)
        cbf_luma = decode_decision(cabac, d->contexts + CBF_LUMA + !trafoDepth);
    transform_unit(d, x0, y0, log2TrafoSize, blkIdx, cbf_luma, cbf);


}
