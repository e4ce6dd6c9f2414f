/* 7.3.8.4: the quadtree of coding units. */
#include "hevc.h"

void coding_quadtree(Decoder *d, int x0, int y0, int log2CbSize, int cqtDepth) {
    const SeqParameterSet *sps = &d->active_sps;
    int size = 1 << log2CbSize, split = log2CbSize > sps->MinCbLog2SizeY;
    if (split && x0 + size <= sps->width && y0 + size <= sps->height) {
        int ctxInc = 0; /* 9.3.4.2.2: how many neighbours are split further */
        if (available_z(d, x0, y0, x0 - 1, y0))
            ctxInc += d->coded[(y0 >> 3) * d->across8 + (x0 >> 3) - 1] >> 3 > cqtDepth;
        if (available_z(d, x0, y0, x0, y0 - 1))
            ctxInc += d->coded[((y0 >> 3) - 1) * d->across8 + (x0 >> 3)] >> 3 > cqtDepth;
        split = decode_decision(&d->cabac, d->contexts + SPLIT_CU_FLAG + ctxInc);
    }
    if (d->active_pps.cu_qp_delta_enabled_flag && log2CbSize >= d->Log2MinCuQpDeltaSize) d->IsCuQpDeltaCoded = 0;
    if (!split) {
        coding_unit(d, x0, y0, log2CbSize, cqtDepth);
        return;
    }
    int half = size >> 1;
    for (int blkIdx = 0; blkIdx < 4; blkIdx++) {
        int x = x0 + (blkIdx & 1) * half, y = y0 + (blkIdx >> 1) * half;
        if (x < sps->width && y < sps->height) coding_quadtree(d, x, y, log2CbSize - 1, cqtDepth + 1);
    }
}
