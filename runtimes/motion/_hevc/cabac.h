/* 9.3: CABAC. The functions stand in a header so that the compiler can keep the decoder in registers. */
#ifndef CABAC_H
#define CABAC_H

#include <stdint.h>

/* 9.3.2.2, table 9-4: where each syntax element's contexts begin */
enum {
    SAO_MERGE = 0,
    SAO_TYPE_IDX = SAO_MERGE + 1,
    SPLIT_CU_FLAG = SAO_TYPE_IDX + 1,
    CU_SKIP_FLAG = SPLIT_CU_FLAG + 3,
    PART_MODE = CU_SKIP_FLAG + 3,
    PREV_INTRA_LUMA_PRED_FLAG = PART_MODE + 4,
    INTRA_CHROMA_PRED_MODE = PREV_INTRA_LUMA_PRED_FLAG + 1,
    CBF_LUMA = INTRA_CHROMA_PRED_MODE + 1,
    CBF_CHROMA = CBF_LUMA + 2,
    SPLIT_TRANSFORM_FLAG = CBF_CHROMA + 4,
    LAST_SIG_COEFF_X_PREFIX = SPLIT_TRANSFORM_FLAG + 3,
    LAST_SIG_COEFF_Y_PREFIX = LAST_SIG_COEFF_X_PREFIX + 18,
    CODED_SUB_BLOCK_FLAG = LAST_SIG_COEFF_Y_PREFIX + 18,
    SIG_COEFF_FLAG = CODED_SUB_BLOCK_FLAG + 4,
    COEFF_ABS_LEVEL_GREATER1_FLAG = SIG_COEFF_FLAG + 42,
    COEFF_ABS_LEVEL_GREATER2_FLAG = COEFF_ABS_LEVEL_GREATER1_FLAG + 24,
    CU_QP_DELTA_ABS = COEFF_ABS_LEVEL_GREATER2_FLAG + 6,
    TRANSFORM_SKIP_FLAG = CU_QP_DELTA_ABS + 2,
    MERGE_FLAG = TRANSFORM_SKIP_FLAG + 2,
    MERGE_IDX = MERGE_FLAG + 1,
    PRED_MODE_FLAG = MERGE_IDX + 1,
    ABS_MVD_GREATER = PRED_MODE_FLAG + 1,
    MVP_FLAG = ABS_MVD_GREATER + 2,
    RQT_ROOT_CBF = MVP_FLAG + 1,
    REF_IDX = RQT_ROOT_CBF + 1,
    INTER_PRED_IDC = REF_IDX + 2,
    CU_TRANSQUANT_BYPASS_FLAG = INTER_PRED_IDC + 5,
    CONTEXTS = CU_TRANSQUANT_BYPASS_FLAG + 1
};

enum { CABAC_PADDING = 8 };

/* `offset` is the standard's ivlOffset followed by `ahead` bits that the standard has not read yet; at least
 * 16 of them between two calls. CABAC_PADDING bytes behind the end can be read. What stands there decides no
 * bin of a good stream; of a bad one, cabac_past_end tells. Nothing here is called by address, so that a local
 * copy can stay in registers. */
typedef struct {
    uint64_t offset;
    uint32_t range;
    int32_t ahead;
    const uint8_t *next, *end;
    uint32_t words_past_end;
} Cabac;

extern const uint8_t rangeTabLps[64][4];
extern const uint8_t next_state_lps[128], next_state_mps[128];  /* a state is pStateIdx * 2 + valMps */

void cabac_start(Cabac *cabac, const uint8_t *start, const uint8_t *end);
const uint8_t *cabac_position(const Cabac *cabac);
int cabac_past_end(const Cabac *cabac);
void cabac_init_contexts(uint8_t *contexts, int initType, int SliceQpY);

static inline void cabac_refill(Cabac *c) {
    if (c->ahead >= 16) return;
    const uint8_t *at = c->next;
    uint32_t word = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
    if (at < c->end)
        c->next = at + 4;
    else
        c->words_past_end++;
    c->offset = c->offset << 32 | word;
    c->ahead += 32;
}

/* 9.3.4.3.2: a bin with a context */
static inline int decode_decision(Cabac *c, uint8_t *context) {
    uint32_t state = *context;
    uint32_t lps = rangeTabLps[state >> 1][c->range >> 6 & 3];
    uint32_t range = c->range - lps;
    uint64_t scaled = (uint64_t)range << c->ahead;
    int bin = (int)(state & 1);
    if (c->offset < scaled) {
        int shift = range < 256;
        *context = next_state_mps[state];
        c->range = range << shift;
        c->ahead -= shift;
    } else {
        int shift = __builtin_clz(lps) - 23;
        c->offset -= scaled;
        *context = next_state_lps[state];
        c->range = lps << shift;
        c->ahead -= shift;
        bin ^= 1;
    }
    cabac_refill(c);
    return bin;
}

/* 9.3.4.3.4: a bin without a context */
static inline int decode_bypass(Cabac *c) {
    c->ahead--;
    uint64_t scaled = (uint64_t)c->range << c->ahead;
    int bin = c->offset >= scaled;
    if (bin) c->offset -= scaled;
    cabac_refill(c);
    return bin;
}

/* The same for up to 16 bins: dividing by the range gives all of them at once. */
static inline uint32_t decode_bypass_bins(Cabac *c, int count) {
    c->ahead -= count;
    uint32_t bins = (uint32_t)(c->offset >> c->ahead) / c->range;
    c->offset -= (uint64_t)(bins * c->range) << c->ahead;
    cabac_refill(c);
    return bins;
}

/* 9.3.4.3.5: a bin before the end of something. After a 1 the caller starts anew behind cabac_position. */
static inline int decode_terminate(Cabac *c) {
    c->range -= 2;
    uint64_t scaled = (uint64_t)c->range << c->ahead;
    if (c->offset >= scaled) return 1;
    int shift = c->range < 256;
    c->range <<= shift;
    c->ahead -= shift;
    cabac_refill(c);
    return 0;
}

#endif
