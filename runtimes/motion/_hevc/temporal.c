/* 8.5.3.2.8 and 8.5.3.2.9: temporal motion vector prediction. */
#include "hevc.h"

/* 8.5.3.2.9: the vector of the collocated block at (x, y), laid over the wanted reference's distance */
static int collocated_mv(const Decoder *d, int x, int y, int X, int refIdx, Mv *mv, uint8_t *inexact) {
    const CollocatedMotion *col = &d->collocated->motion[(y >> 4) * d->across16 + (x >> 4)];
    *inexact |= col->inexact;
    if (!col->predFlags) return 0;
    int list;
    if (!(col->predFlags & 1)) list = 1;
    else if (col->predFlags == 1) list = 0;
    else list = d->NoBackwardPredFlag ? X : d->slice.collocated_from_l0_flag;
    const RefPicList *wanted = &d->RefPicList[X];
    if (wanted->longTerm[refIdx] != (col->longTerm >> list & 1)) return 0;
    int colPocDiff = d->collocated->PicOrderCntVal - col->refPicOrderCnt[list];
    int currPocDiff = d->info.poc - wanted->poc[refIdx];
    *mv = col->mv[list];
    if (!wanted->longTerm[refIdx] && colPocDiff != currPocDiff) *mv = scale_mv(*mv, currPocDiff, colPocDiff);
    return 1;
}

/* 8.5.3.2.8. Returns availableFlagLXCol. */
int temporal_mv(Decoder *d, int xPb, int yPb, int nPbW, int nPbH, int X, int refIdx, Mv *mv, uint8_t *inexact) {
    if (!d->collocated) return 0;
    int xColBr = xPb + nPbW, yColBr = yPb + nPbH, log2 = d->active_sps.CtbLog2SizeY;
    if (yPb >> log2 == yColBr >> log2 && yColBr < d->active_sps.height && xColBr < d->active_sps.width &&
        collocated_mv(d, xColBr, yColBr, X, refIdx, mv, inexact))
        return 1;
    return collocated_mv(d, xPb + (nPbW >> 1), yPb + (nPbH >> 1), X, refIdx, mv, inexact);
}
