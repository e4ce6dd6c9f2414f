/* 6.5 and 7.4.2.4.4: what is set up when a coded video sequence starts, and the order of tree blocks. */
#include "hevc.h"

/* Under AddressSanitizer the arrays have forbidden ground between them, as if each came from malloc. */
#ifdef __SANITIZE_ADDRESS__
void __asan_poison_memory_region(void const volatile *start, size_t size);
void __asan_unpoison_memory_region(void const volatile *start, size_t size);
enum { REDZONE = 64 };
#define FORBID(start, size) __asan_poison_memory_region(start, size)
#define ALLOW(start, size) __asan_unpoison_memory_region(start, size)
#else
enum { REDZONE = 0 };
#define FORBID(start, size) ((void)0)
#define ALLOW(start, size) ((void)0)
#endif

static void *take(Arena *arena, size_t count, size_t size) {
    size_t bytes = ((count * size + 15) & ~(size_t)15) + REDZONE;
    if (bytes > arena->limit - arena->used) return 0;
    void *taken = arena->start + arena->used;
    arena->used += bytes;
    ALLOW(taken, bytes);
    __builtin_memset(taken, 0, bytes);
    FORBID((uint8_t *)taken + count * size, bytes - count * size);
    return taken;
}

/* Whether a parameter set is the active one. */
int same_sequence(const Decoder *d, const SeqParameterSet *sps) {
    const uint8_t *left = (const uint8_t *)sps, *right = (const uint8_t *)&d->active_sps;
    if (!d->sequence_active) return 0;
    for (size_t i = 0; i < sizeof *sps; i++) {
        if (left[i] != right[i]) return 0;
    }
    return 1;
}

/* The arrays of a sequence: sizes depend on the sequence parameter set alone. */
static Reason allocate(Decoder *d) {
    const SeqParameterSet *sps = &d->active_sps;
    size_t ctbs = (size_t)sps->PicWidthInCtbsY * (size_t)sps->PicHeightInCtbsY;
    d->across4 = sps->width >> 2;
    d->across8 = (sps->width + 7) >> 3;
    d->across16 = (sps->width + 15) >> 4;
    size_t of4 = (size_t)d->across4 * (size_t)(sps->height >> 2);
    size_t of8 = (size_t)d->across8 * (size_t)((sps->height + 7) >> 3);
    size_t of16 = (size_t)d->across16 * (size_t)((sps->height + 15) >> 4);
    Arena *arena = &d->arena;
    ALLOW(arena->start, arena->size);
    arena->used = d->sequence_start;
    d->CtbAddrRsToTs = take(arena, ctbs, sizeof *d->CtbAddrRsToTs);
    d->CtbAddrTsToRs = take(arena, ctbs, sizeof *d->CtbAddrTsToRs);
    d->TileId = take(arena, ctbs, sizeof *d->TileId);
    d->SliceAddrRs = take(arena, ctbs, sizeof *d->SliceAddrRs);
    d->motion = take(arena, of4, sizeof *d->motion);
    d->intra_mode = take(arena, of4, 1);
    d->coded = take(arena, of8, 1);
    d->cells = take(arena, of8, sizeof *d->cells);
    d->blocks = d->keep_blocks ? take(arena, of4, sizeof *d->blocks) : 0;
    if (!d->CtbAddrRsToTs || !d->CtbAddrTsToRs || !d->TileId || !d->SliceAddrRs || !d->motion || !d->intra_mode ||
        !d->coded || !d->cells || (d->keep_blocks && !d->blocks))
        return TOO_LARGE;
    for (d->slots = 0; d->slots < MAX_DPB; d->slots++) {
        CollocatedMotion *motion = take(arena, of16, sizeof *motion);
        if (!motion) break;
        d->dpb[d->slots] = (DecodedPicture){.motion = motion};
    }
    /* The largest pictures have few references (A.4.2). */
    return d->slots > min(sps->max_dec_pic_buffering, MAX_REF_PICS) ? OK : TOO_LARGE;
}

/* Checks that need both parameter sets */
static Reason fits(const SeqParameterSet *sps, const PicParameterSet *pps) {
    int columns = 0, rows = 0;
    if (pps->num_tile_columns > sps->PicWidthInCtbsY || pps->num_tile_rows > sps->PicHeightInCtbsY) return DAMAGED;
    for (int i = 0; i + 1 < pps->num_tile_columns; i++) columns += pps->column_width[i];
    for (int i = 0; i + 1 < pps->num_tile_rows; i++) rows += pps->row_height[i];
    if (columns >= sps->PicWidthInCtbsY || rows >= sps->PicHeightInCtbsY) return DAMAGED;
    if (pps->diff_cu_qp_delta_depth > sps->CtbLog2SizeY - sps->MinCbLog2SizeY) return DAMAGED;
    return pps->Log2ParMrgLevel > sps->CtbLog2SizeY ? DAMAGED : OK;
}

/* A picture's parameter sets become the active ones. */
Reason activate(Decoder *d, const SeqParameterSet *sps, const PicParameterSet *pps) {
    Reason reason = fits(sps, pps);
    if (reason) return reason;
    if (!same_sequence(d, sps)) {
        d->active_sps = *sps;
        d->sequence_active = 0;
        reason = allocate(d);
        if (reason) return reason;
        d->sequence_active = 1;
    }
    d->active_pps = *pps;
    d->Log2MinCuQpDeltaSize = sps->CtbLog2SizeY - pps->diff_cu_qp_delta_depth;
    set_up_tiles(d);
    return OK;
}

/* 6.5.1: boundaries of columns or rows, in tree blocks */
static void boundaries(int32_t *bound, int parts, int size, int uniform, const int32_t *given) {
    bound[0] = 0;
    for (int i = 0; i < parts; i++) {
        int length = uniform ? (i + 1) * size / parts - i * size / parts : given[i];
        bound[i + 1] = i + 1 == parts ? size : bound[i] + length;
    }
}

/* 6.5.1: tree blocks in the order of tiles */
void set_up_tiles(Decoder *d) {
    const SeqParameterSet *sps = &d->active_sps;
    const PicParameterSet *pps = &d->active_pps;
    int32_t colBd[MAX_TILE_COLUMNS + 1], rowBd[MAX_TILE_ROWS + 1];
    boundaries(colBd, pps->num_tile_columns, sps->PicWidthInCtbsY, pps->uniform_spacing_flag, pps->column_width);
    boundaries(rowBd, pps->num_tile_rows, sps->PicHeightInCtbsY, pps->uniform_spacing_flag, pps->row_height);
    uint32_t ts = 0;
    uint16_t tile = 0;
    for (int row = 0; row < pps->num_tile_rows; row++) {
        for (int column = 0; column < pps->num_tile_columns; column++, tile++) {
            for (int y = rowBd[row]; y < rowBd[row + 1]; y++) {
                for (int x = colBd[column]; x < colBd[column + 1]; x++, ts++) {
                    uint32_t rs = (uint32_t)(y * sps->PicWidthInCtbsY + x);
                    d->CtbAddrRsToTs[rs] = ts;
                    d->CtbAddrTsToRs[ts] = rs;
                    d->TileId[rs] = tile;
                }
            }
        }
    }
}
