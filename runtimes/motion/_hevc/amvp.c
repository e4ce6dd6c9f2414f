/* 8.5.3.2.6 and 8.5.3.2.7: motion vector prediction. */
#include "hevc.h"

/* 8-179 to 8-183: a vector over a distance of td pictures, laid over tb */
Mv scale_mv(Mv mv, int tb, int td) {
    td = clip3(-128, 127, td);
    tb = clip3(-128, 127, tb);
    if (!td) return mv; /* damaged: a picture does not refer to itself */
    int tx = (16384 + ((td < 0 ? -td : td) >> 1)) / td;
    int distScaleFactor = clip3(-4096, 4095, (tb * tx + 32) >> 6);
    int x = distScaleFactor * mv.x, y = distScaleFactor * mv.y;
    x = x < 0 ? -((-x + 127) >> 8) : (x + 127) >> 8;
    y = y < 0 ? -((-y + 127) >> 8) : (y + 127) >> 8;
    return (Mv){(int16_t)clip3(-32768, 32767, x), (int16_t)clip3(-32768, 32767, y)};
}

/* A neighbour's vector towards the very picture that is wanted */
static int same_reference(const Decoder *d, const Motion *nb, int X, int32_t poc, Mv *mv) {
    for (int i = 0; i < 2; i++) {
        int list = i ? !X : X;
        if (!(nb->predFlags >> list & 1) || d->RefPicList[list].poc[nb->ref_idx[list]] != poc) continue;
        *mv = nb->mv[list];
        return 1;
    }
    return 0;
}

/* A neighbour's vector towards another picture, scaled */
static int other_reference(const Decoder *d, const Motion *nb, int X, int refIdx, Mv *mv) {
    const RefPicList *wanted = &d->RefPicList[X];
    for (int i = 0; i < 2; i++) {
        int list = i ? !X : X;
        if (!(nb->predFlags >> list & 1)) continue;
        const RefPicList *from = &d->RefPicList[list];
        int ref_idx = nb->ref_idx[list];
        if (from->longTerm[ref_idx] != wanted->longTerm[refIdx]) continue;
        *mv = nb->mv[list];
        if (!from->longTerm[ref_idx])
            *mv = scale_mv(*mv, d->info.poc - wanted->poc[refIdx], d->info.poc - from->poc[ref_idx]);
        return 1;
    }
    return 0;
}

/* 8.5.3.2.6 and 8.5.3.2.7: mvpLX */
Mv predict_mv(Decoder *d, int xPb, int yPb, int nPbW, int nPbH, int partIdx, int X, int refIdx, int mvp_flag,
              uint8_t *inexact) {
    int32_t poc = d->RefPicList[X].poc[refIdx];
    const Motion *A[2], *B[3];
    A[0] = neighbour(d, xPb, yPb, nPbW, nPbH, partIdx, xPb - 1, yPb + nPbH);
    A[1] = neighbour(d, xPb, yPb, nPbW, nPbH, partIdx, xPb - 1, yPb + nPbH - 1);
    B[0] = neighbour(d, xPb, yPb, nPbW, nPbH, partIdx, xPb + nPbW, yPb - 1);
    B[1] = neighbour(d, xPb, yPb, nPbW, nPbH, partIdx, xPb + nPbW - 1, yPb - 1);
    B[2] = neighbour(d, xPb, yPb, nPbW, nPbH, partIdx, xPb - 1, yPb - 1);
    Mv mvA = {0, 0}, mvB = {0, 0}, mvCol;
    int isScaledFlag = A[0] || A[1], availableA = 0, availableB = 0;
    uint8_t unsureA = 0, unsureB = 0;
    for (int scaled = 0; scaled < 2; scaled++) {
        for (int k = 0; k < 2 && !availableA; k++) {
            if (!A[k]) continue;
            availableA = scaled ? other_reference(d, A[k], X, refIdx, &mvA) : same_reference(d, A[k], X, poc, &mvA);
            unsureA = A[k]->inexact;
        }
    }
    for (int k = 0; k < 3 && !availableB; k++) {
        if (!B[k]) continue;
        availableB = same_reference(d, B[k], X, poc, &mvB);
        unsureB = B[k]->inexact;
    }
    if (!isScaledFlag) {
        if (availableB) {
            availableA = 1;
            mvA = mvB;
            unsureA = unsureB;
        }
        availableB = 0;
        for (int k = 0; k < 3 && !availableB; k++) {
            if (!B[k]) continue;
            availableB = other_reference(d, B[k], X, refIdx, &mvB);
            unsureB = B[k]->inexact;
        }
    }
    Mv list[3] = {{0, 0}, {0, 0}, {0, 0}};
    uint8_t unsure[3] = {0, 0, 0};
    int count = 0;
    if (availableA) {
        unsure[count] = unsureA;
        list[count++] = mvA;
    }
    if (availableB && !(availableA && mvA.x == mvB.x && mvA.y == mvB.y)) {
        unsure[count] = unsureB;
        list[count++] = mvB;
    }
    if (count < 2 && mvp_flag >= count && d->slice.slice_temporal_mvp_enabled_flag) {
        uint8_t unsureCol = 0;
        if (temporal_mv(d, xPb, yPb, nPbW, nPbH, X, refIdx, &mvCol, &unsureCol)) list[count] = mvCol;
        for (int i = count; i < 3; i++) unsure[i] = (uint8_t)(unsureCol | (d->collocated && d->collocated->inexact));
    }
    *inexact |= unsure[mvp_flag];
    return list[mvp_flag];
}
