/* 8.5.3.2.2 to 8.5.3.2.5: merge candidates. */
#include "hevc.h"

int same_motion(const Motion *a, const Motion *b) {
    if (a->predFlags != b->predFlags) return 0;
    for (int X = 0; X < 2; X++) {
        if (!(a->predFlags >> X & 1)) continue;
        if (a->ref_idx[X] != b->ref_idx[X] || a->mv[X].x != b->mv[X].x || a->mv[X].y != b->mv[X].y) return 0;
    }
    return 1;
}

/* A neighbour that is not in the same merge estimation region */
static const Motion *spatial(const Decoder *d, int xPb, int yPb, int nPbW, int nPbH, int partIdx, int x, int y) {
    int level = d->active_pps.Log2ParMrgLevel;
    if (xPb >> level == x >> level && yPb >> level == y >> level) return 0;
    return neighbour(d, xPb, yPb, nPbW, nPbH, partIdx, x, y);
}

/* 8.5.3.2.3. Returns how many. */
static int spatial_candidates(const Decoder *d, int xPb, int yPb, int nPbW, int nPbH, int partIdx, Motion *list) {
    int mode = d->cu.partMode, second = partIdx == 1, count = 0;
    int beside = second && (mode == PART_Nx2N || mode == PART_nLx2N || mode == PART_nRx2N);
    int under = second && (mode == PART_2NxN || mode == PART_2NxnU || mode == PART_2NxnD);
    const Motion *A1 = 0, *B1 = 0, *B0, *A0, *B2;
    if (!beside) A1 = spatial(d, xPb, yPb, nPbW, nPbH, partIdx, xPb - 1, yPb + nPbH - 1);
    if (A1) list[count++] = *A1;
    if (!under) B1 = spatial(d, xPb, yPb, nPbW, nPbH, partIdx, xPb + nPbW - 1, yPb - 1);
    if (B1 && !(A1 && same_motion(A1, B1))) list[count++] = *B1;
    B0 = spatial(d, xPb, yPb, nPbW, nPbH, partIdx, xPb + nPbW, yPb - 1);
    if (B0 && !(B1 && same_motion(B1, B0))) list[count++] = *B0;
    A0 = spatial(d, xPb, yPb, nPbW, nPbH, partIdx, xPb - 1, yPb + nPbH);
    if (A0 && !(A1 && same_motion(A1, A0))) list[count++] = *A0;
    if (count == 4) return count;
    B2 = spatial(d, xPb, yPb, nPbW, nPbH, partIdx, xPb - 1, yPb - 1);
    if (B2 && !(A1 && same_motion(A1, B2)) && !(B1 && same_motion(B1, B2))) list[count++] = *B2;
    return count;
}

/* 8.5.3.2.2: the temporal candidate, with reference index 0 */
static int temporal_candidate(Decoder *d, int xPb, int yPb, int nPbW, int nPbH, Motion *candidate) {
    *candidate = (Motion){{{0, 0}, {0, 0}}, {-1, -1}, 0, 0};
    for (int X = 0; X <= (d->slice.slice_type == SLICE_B); X++) {
        if (!temporal_mv(d, xPb, yPb, nPbW, nPbH, X, 0, &candidate->mv[X], &candidate->inexact)) continue;
        candidate->predFlags |= (uint8_t)(1 << X);
        candidate->ref_idx[X] = 0;
    }
    /* Where the lost picture's motion is not known, nobody knows whether a candidate stood here. */
    return candidate->predFlags != 0;
}

/* 8.5.3.2.4: list 0 of one candidate with list 1 of another. Returns the new count. */
static int combine(const Decoder *d, Motion *list, int count) {
    static const uint8_t l0CandIdx[12] = {0, 1, 0, 2, 1, 2, 0, 3, 1, 3, 2, 3};
    static const uint8_t l1CandIdx[12] = {1, 0, 2, 0, 2, 1, 3, 0, 3, 1, 3, 2};
    int numOrigMergeCand = count;
    for (int combIdx = 0; combIdx < numOrigMergeCand * (numOrigMergeCand - 1); combIdx++) {
        const Motion *l0 = &list[l0CandIdx[combIdx]], *l1 = &list[l1CandIdx[combIdx]];
        if (count == d->slice.MaxNumMergeCand) break;
        if (!(l0->predFlags & 1) || !(l1->predFlags & 2)) continue;
        if (d->RefPicList[0].poc[l0->ref_idx[0]] == d->RefPicList[1].poc[l1->ref_idx[1]] &&
            l0->mv[0].x == l1->mv[1].x && l0->mv[0].y == l1->mv[1].y)
            continue;
        list[count++] = (Motion){{l0->mv[0], l1->mv[1]}, {l0->ref_idx[0], l1->ref_idx[1]}, 3,
                                 (uint8_t)(l0->inexact | l1->inexact)};
    }
    return count;
}

/* 8.5.3.2.5: the candidate at `index` when the list ended with `count` */
static Motion zero_candidate(const Decoder *d, int zeroIdx) {
    int B = d->slice.slice_type == SLICE_B;
    int numRefIdx = B ? min(d->slice.num_ref_idx_active[0], d->slice.num_ref_idx_active[1])
                      : d->slice.num_ref_idx_active[0];
    int8_t ref_idx = (int8_t)(zeroIdx < numRefIdx ? zeroIdx : 0);
    return (Motion){{{0, 0}, {0, 0}}, {ref_idx, B ? ref_idx : -1}, (uint8_t)(B ? 3 : 1), 0};
}

/* 8.5.3.2.2 */
Motion merge_motion(Decoder *d, int xPb, int yPb, int nPbW, int nPbH, int partIdx, int merge_idx) {
    int nOrigPbW = nPbW, nOrigPbH = nPbH;
    if (d->active_pps.Log2ParMrgLevel > 2 && d->cu.log2Size == 3) { /* one list for the whole unit */
        xPb = d->cu.x;
        yPb = d->cu.y;
        nPbW = nPbH = 8;
        partIdx = 0;
    }
    Motion list[6], chosen;
    uint8_t unsure = 0;
    int count = spatial_candidates(d, xPb, yPb, nPbW, nPbH, partIdx, list);
    if (count <= merge_idx && d->slice.slice_temporal_mvp_enabled_flag) {
        count += temporal_candidate(d, xPb, yPb, nPbW, nPbH, &list[count]);
        unsure = d->collocated && d->collocated->inexact;
    }
    if (count <= merge_idx && d->slice.slice_type == SLICE_B && count > 1 && count < d->slice.MaxNumMergeCand)
        count = combine(d, list, count);
    chosen = merge_idx < count ? list[merge_idx] : zero_candidate(d, merge_idx - count);
    chosen.inexact |= unsure;
    if (chosen.predFlags == 3 && nOrigPbW + nOrigPbH == 12) { /* 8x4 and 4x8 have one reference only */
        chosen.predFlags = 1;
        chosen.ref_idx[1] = -1;
    }
    return chosen;
}
