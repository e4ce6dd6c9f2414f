/* What a tree block leaves behind: motion for later pictures' temporal prediction, and the cells of the result. */
#include "hevc.h"

static int mode_at(const Decoder *d, int x, int y) { return (d->coded[(y >> 3) * d->across8 + (x >> 3)] & 7) - 1; }

/* 8.5.3.2.8 looks at every 16th sample only. */
static void store_collocated(Decoder *d, int x, int y) {
    CollocatedMotion *out = &d->dpb[d->current].motion[(y >> 4) * d->across16 + (x >> 4)];
    *out = (CollocatedMotion){0};
    if (mode_at(d, x, y) == MODE_INTRA) return;
    const Motion *motion = &d->motion[(y >> 2) * d->across4 + (x >> 2)];
    out->predFlags = motion->predFlags;
    out->inexact = motion->inexact;
    for (int X = 0; X < 2; X++) {
        if (!(motion->predFlags >> X & 1)) continue;
        const RefPicList *list = &d->RefPicList[X];
        int ref_idx = motion->ref_idx[X];
        out->mv[X] = motion->mv[X];
        out->refPicOrderCnt[X] = list->poc[ref_idx];
        if (list->longTerm[ref_idx]) out->longTerm |= (uint8_t)(1 << X);
    }
}

static Cell cell_of(const Decoder *d, const Motion *motion, int mode) {
    Cell cell = {.mode = (uint8_t)mode};
    if (mode == MODE_INTRA) return cell;
    cell.lists = motion->predFlags;
    if (motion->inexact) cell.flags |= CELL_INEXACT;
    for (int X = 0; X < 2; X++) {
        if (!(motion->predFlags >> X & 1)) continue;
        const RefPicList *list = &d->RefPicList[X];
        int ref_idx = motion->ref_idx[X];
        cell.mv[X] = motion->mv[X];
        cell.pocDifference[X] = (int16_t)clip3(-32768, 32767, list->poc[ref_idx] - d->info.poc);
        if (list->longTerm[ref_idx]) cell.flags |= CELL_LONG_TERM;
        if (list->missing[ref_idx]) cell.flags |= CELL_MISSING_REFERENCE;
    }
    return cell;
}

/* How far away in time the nearest reference is */
static int nearest(const Cell *cell) {
    int best = 1 << 16;
    for (int X = 0; X < 2; X++) {
        int distance = cell->pocDifference[X] < 0 ? -cell->pocDifference[X] : cell->pocDifference[X];
        if (cell->lists >> X & 1) best = min(best, distance);
    }
    return best;
}

/* An 8x8 cell lies in one or two prediction blocks. Of two, the one whose reference is nearer in time speaks:
 * it follows the motion most closely. When both are as near, the first one does. */
static void store_cell(Decoder *d, int x, int y) {
    const Motion *motion = &d->motion[(y >> 2) * d->across4 + (x >> 2)];
    int mode = mode_at(d, x, y);
    Cell cell = cell_of(d, motion, mode);
    if (mode != MODE_INTRA) {
        const Motion *last = motion + d->across4 + 1;
        if (!same_motion(last, motion)) {
            Cell other = cell_of(d, last, mode);
            if (nearest(&other) < nearest(&cell)) cell = other;
            cell.flags |= CELL_SPLIT;
        }
        d->info.largest_poc_span = max(d->info.largest_poc_span, nearest(&cell));
    }
    d->cells[(y >> 3) * d->across8 + (x >> 3)] = cell;
}

void store_ctu(Decoder *d, int xCtb, int yCtb) {
    int size = 1 << d->active_sps.CtbLog2SizeY;
    int xEnd = min(xCtb + size, d->active_sps.width), yEnd = min(yCtb + size, d->active_sps.height);
    for (int y = yCtb; y < yEnd; y += 16) {
        for (int x = xCtb; x < xEnd; x += 16) store_collocated(d, x, y);
    }
    for (int y = yCtb; y < yEnd; y += 8) {
        for (int x = xCtb; x < xEnd; x += 8) store_cell(d, x, y);
    }
    if (!d->blocks) return;
    for (int y = yCtb; y < yEnd; y += 4) {
        for (int x = xCtb; x < xEnd; x += 4) {
            int at = (y >> 2) * d->across4 + (x >> 2);
            d->blocks[at] = cell_of(d, &d->motion[at], mode_at(d, x, y));
        }
    }
}

/* Where a slice turned out to be damaged, nobody knows from which block on. */
void distrust_slice(Decoder *d) {
    const SeqParameterSet *sps = &d->active_sps;
    int cells = 1 << (sps->CtbLog2SizeY - 3), down8 = d->info.cells_down;
    d->dpb[d->current].inexact = 1;
    for (int ctb = 0; ctb < sps->PicWidthInCtbsY * sps->PicHeightInCtbsY; ctb++) {
        if (d->SliceAddrRs[ctb] != d->current_slice_addr) continue;
        int x0 = ctb % sps->PicWidthInCtbsY * cells, y0 = ctb / sps->PicWidthInCtbsY * cells;
        for (int y = y0; y < min(y0 + cells, down8); y++) {
            for (int x = x0; x < min(x0 + cells, d->across8); x++) {
                d->cells[y * d->across8 + x].flags |= CELL_INEXACT;
                d->dpb[d->current].motion[(y >> 1) * d->across16 + (x >> 1)].inexact = 1;
            }
        }
    }
}
