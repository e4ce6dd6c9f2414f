/* 9.3: the numbers of CABAC, and its slow paths. */
#include "cabac.h"

/* Tables 9-5 to 9-37: initValue by initType, in the order of the contexts in cabac.h */
static const uint8_t initValue[3][CONTEXTS] = {
    {
        /* sao_merge_left_flag, sao_merge_up_flag */
        153,
        /* sao_type_idx_luma, sao_type_idx_chroma */
        200,
        /* split_cu_flag */
        139, 141, 157,
        /* cu_skip_flag */
        154, 154, 154,
        /* part_mode */
        184, 154, 139, 154,
        /* prev_intra_luma_pred_flag */
        184,
        /* intra_chroma_pred_mode */
        63,
        /* cbf_luma */
        111, 141,
        /* cbf_cb, cbf_cr */
        94, 138, 182, 154,
        /* split_transform_flag */
        153, 138, 138,
        /* last_sig_coeff_x_prefix */
        110, 110, 124, 125, 140, 153, 125, 127, 140, 109, 111, 143, 127, 111, 79, 108, 123, 63,
        /* last_sig_coeff_y_prefix */
        110, 110, 124, 125, 140, 153, 125, 127, 140, 109, 111, 143, 127, 111, 79, 108, 123, 63,
        /* coded_sub_block_flag */
        91, 171, 134, 141,
        /* sig_coeff_flag */
        111, 111, 125, 110, 110, 94, 124, 108, 124, 107, 125, 141, 179, 153, 125, 107, 125, 141, 179,
        153, 125, 107, 125, 141, 179, 153, 125, 140, 139, 182, 182, 152, 136, 152, 136, 153, 136, 139,
        111, 136, 139, 111,
        /* coeff_abs_level_greater1_flag */
        140, 92, 137, 138, 140, 152, 138, 139, 153, 74, 149, 92, 139, 107, 122, 152, 140, 179, 166,
        182, 140, 227, 122, 197,
        /* coeff_abs_level_greater2_flag */
        138, 153, 136, 167, 152, 152,
        /* cu_qp_delta_abs */
        154, 154,
        /* transform_skip_flag (luma, chroma) */
        139, 139,
        /* merge_flag */
        154,
        /* merge_idx */
        154,
        /* pred_mode_flag */
        154,
        /* abs_mvd_greater0_flag, abs_mvd_greater1_flag */
        154, 154,
        /* mvp_l0_flag, mvp_l1_flag */
        168,
        /* rqt_root_cbf */
        79,
        /* ref_idx_l0, ref_idx_l1 */
        153, 153,
        /* inter_pred_idc */
        95, 79, 63, 31, 31,
        /* cu_transquant_bypass_flag */
        154,
    },
    {
        /* sao_merge_left_flag, sao_merge_up_flag */
        153,
        /* sao_type_idx_luma, sao_type_idx_chroma */
        185,
        /* split_cu_flag */
        107, 139, 126,
        /* cu_skip_flag */
        197, 185, 201,
        /* part_mode */
        154, 139, 154, 154,
        /* prev_intra_luma_pred_flag */
        154,
        /* intra_chroma_pred_mode */
        152,
        /* cbf_luma */
        153, 111,
        /* cbf_cb, cbf_cr */
        149, 107, 167, 154,
        /* split_transform_flag */
        124, 138, 94,
        /* last_sig_coeff_x_prefix */
        125, 110, 94, 110, 95, 79, 125, 111, 110, 78, 110, 111, 111, 95, 94, 108, 123, 108,
        /* last_sig_coeff_y_prefix */
        125, 110, 94, 110, 95, 79, 125, 111, 110, 78, 110, 111, 111, 95, 94, 108, 123, 108,
        /* coded_sub_block_flag */
        121, 140, 61, 154,
        /* sig_coeff_flag */
        155, 154, 139, 153, 139, 123, 123, 63, 153, 166, 183, 140, 136, 153, 154, 166, 183, 140, 136,
        153, 154, 166, 183, 140, 136, 153, 154, 170, 153, 123, 123, 107, 121, 107, 121, 167, 151, 183,
        140, 151, 183, 140,
        /* coeff_abs_level_greater1_flag */
        154, 196, 196, 167, 154, 152, 167, 182, 182, 134, 149, 136, 153, 121, 136, 137, 169, 194, 166,
        167, 154, 167, 137, 182,
        /* coeff_abs_level_greater2_flag */
        107, 167, 91, 122, 107, 167,
        /* cu_qp_delta_abs */
        154, 154,
        /* transform_skip_flag (luma, chroma) */
        139, 139,
        /* merge_flag */
        110,
        /* merge_idx */
        122,
        /* pred_mode_flag */
        149,
        /* abs_mvd_greater0_flag, abs_mvd_greater1_flag */
        140, 198,
        /* mvp_l0_flag, mvp_l1_flag */
        168,
        /* rqt_root_cbf */
        79,
        /* ref_idx_l0, ref_idx_l1 */
        153, 153,
        /* inter_pred_idc */
        95, 79, 63, 31, 31,
        /* cu_transquant_bypass_flag */
        154,
    },
    {
        /* sao_merge_left_flag, sao_merge_up_flag */
        153,
        /* sao_type_idx_luma, sao_type_idx_chroma */
        160,
        /* split_cu_flag */
        107, 139, 126,
        /* cu_skip_flag */
        197, 185, 201,
        /* part_mode */
        154, 139, 154, 154,
        /* prev_intra_luma_pred_flag */
        183,
        /* intra_chroma_pred_mode */
        152,
        /* cbf_luma */
        153, 111,
        /* cbf_cb, cbf_cr */
        149, 92, 167, 154,
        /* split_transform_flag */
        224, 167, 122,
        /* last_sig_coeff_x_prefix */
        125, 110, 124, 110, 95, 94, 125, 111, 111, 79, 125, 126, 111, 111, 79, 108, 123, 93,
        /* last_sig_coeff_y_prefix */
        125, 110, 124, 110, 95, 94, 125, 111, 111, 79, 125, 126, 111, 111, 79, 108, 123, 93,
        /* coded_sub_block_flag */
        121, 140, 61, 154,
        /* sig_coeff_flag */
        170, 154, 139, 153, 139, 123, 123, 63, 124, 166, 183, 140, 136, 153, 154, 166, 183, 140, 136,
        153, 154, 166, 183, 140, 136, 153, 154, 170, 153, 138, 138, 122, 121, 122, 121, 167, 151, 183,
        140, 151, 183, 140,
        /* coeff_abs_level_greater1_flag */
        154, 196, 167, 167, 154, 152, 167, 182, 182, 134, 149, 136, 153, 121, 136, 122, 169, 208, 166,
        167, 154, 152, 167, 182,
        /* coeff_abs_level_greater2_flag */
        107, 167, 91, 107, 107, 167,
        /* cu_qp_delta_abs */
        154, 154,
        /* transform_skip_flag (luma, chroma) */
        139, 139,
        /* merge_flag */
        154,
        /* merge_idx */
        137,
        /* pred_mode_flag */
        134,
        /* abs_mvd_greater0_flag, abs_mvd_greater1_flag */
        169, 198,
        /* mvp_l0_flag, mvp_l1_flag */
        168,
        /* rqt_root_cbf */
        79,
        /* ref_idx_l0, ref_idx_l1 */
        153, 153,
        /* inter_pred_idc */
        95, 79, 63, 31, 31,
        /* cu_transquant_bypass_flag */
        154,
    },
};

/* Table 9-46 */
const uint8_t rangeTabLps[64][4] = {
    {128, 176, 208, 240}, {128, 167, 197, 227}, {128, 158, 187, 216}, {123, 150, 178, 205},
    {116, 142, 169, 195}, {111, 135, 160, 185}, {105, 128, 152, 175}, {100, 122, 144, 166},
    {95, 116, 137, 158}, {90, 110, 130, 150}, {85, 104, 123, 142}, {81, 99, 117, 135},
    {77, 94, 111, 128}, {73, 89, 105, 122}, {69, 85, 100, 116}, {66, 80, 95, 110},
    {62, 76, 90, 104}, {59, 72, 86, 99}, {56, 69, 81, 94}, {53, 65, 77, 89},
    {51, 62, 73, 85}, {48, 59, 69, 80}, {46, 56, 66, 76}, {43, 53, 63, 72},
    {41, 50, 59, 69}, {39, 48, 56, 65}, {37, 45, 54, 62}, {35, 43, 51, 59},
    {33, 41, 48, 56}, {32, 39, 46, 53}, {30, 37, 43, 50}, {29, 35, 41, 48},
    {27, 33, 39, 45}, {26, 31, 37, 43}, {24, 30, 35, 41}, {23, 28, 33, 39},
    {22, 27, 32, 37}, {21, 26, 30, 35}, {20, 24, 29, 33}, {19, 23, 27, 31},
    {18, 22, 26, 30}, {17, 21, 25, 28}, {16, 20, 23, 27}, {15, 19, 22, 25},
    {14, 18, 21, 24}, {14, 17, 20, 23}, {13, 16, 19, 22}, {12, 15, 18, 21},
    {12, 14, 17, 20}, {11, 14, 16, 19}, {11, 13, 15, 18}, {10, 12, 15, 17},
    {10, 12, 14, 16}, {9, 11, 13, 15}, {9, 11, 12, 14}, {8, 10, 12, 14},
    {8, 9, 11, 13}, {7, 9, 11, 12}, {7, 9, 10, 12}, {7, 8, 10, 11},
    {6, 8, 9, 11}, {6, 7, 9, 10}, {6, 7, 8, 9}, {2, 2, 2, 2},
};

/* Table 9-47, transIdxLps and transIdxMps, with the most probable symbol in bit 0 */
const uint8_t next_state_mps[128] = {
    2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28,
    29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53,
    54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78,
    79, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100, 101, 102,
    103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113, 114, 115, 116, 117, 118, 119, 120, 121, 122,
    123, 124, 125, 124, 125, 126, 127,
};
const uint8_t next_state_lps[128] = {
    1, 0, 0, 1, 2, 3, 4, 5, 4, 5, 8, 9, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 18, 19, 22, 23,
    22, 23, 24, 25, 26, 27, 26, 27, 30, 31, 30, 31, 32, 33, 32, 33, 36, 37, 36, 37, 38, 39, 38, 39, 42,
    43, 42, 43, 44, 45, 44, 45, 46, 47, 48, 49, 48, 49, 50, 51, 52, 53, 52, 53, 54, 55, 54, 55, 56, 57,
    58, 59, 58, 59, 60, 61, 60, 61, 60, 61, 62, 63, 64, 65, 64, 65, 66, 67, 66, 67, 66, 67, 68, 69, 68,
    69, 70, 71, 70, 71, 70, 71, 72, 73, 72, 73, 72, 73, 74, 75, 74, 75, 74, 75, 76, 77, 76, 77, 126,
    127,
};

/* 9.3.2.2: contexts at the start of a slice, tile or row */
void cabac_init_contexts(uint8_t *contexts, int initType, int SliceQpY) {
    int qp = SliceQpY < 0 ? 0 : SliceQpY > 51 ? 51 : SliceQpY;
    for (int i = 0; i < CONTEXTS; i++) {
        int slopeIdx = initValue[initType][i] >> 4, offsetIdx = initValue[initType][i] & 15;
        int m = slopeIdx * 5 - 45, n = (offsetIdx << 3) - 16;
        int preCtxState = ((m * qp) >> 4) + n;
        preCtxState = preCtxState < 1 ? 1 : preCtxState > 126 ? 126 : preCtxState;
        int valMps = preCtxState > 63;
        contexts[i] = (uint8_t)((valMps ? preCtxState - 64 : 63 - preCtxState) * 2 + valMps);
    }
}

/* 9.3.2.5: the arithmetic decoder at the start of a slice segment or substream, or behind PCM samples */
void cabac_start(Cabac *c, const uint8_t *start, const uint8_t *end) {
    c->offset = 0;
    c->range = 510;
    c->ahead = -9;
    c->next = start;
    c->end = end;
    c->words_past_end = 0;
    cabac_refill(c);
    if (c->offset >> c->ahead >= 510) { /* no encoder writes this, and division by the range needs less */
        c->offset = 0;
        c->words_past_end = 1 << 16;
    }
}

/* How many bits were loaded from behind the end */
static int64_t bits_past_end(const Cabac *c) { return (c->next - c->end) * 8 + (int64_t)c->words_past_end * 32; }

/* The first byte that no bin has touched, after a terminating bin: the bit before it is the stop bit, which
 * the decoder has read already, and zeros up to a whole byte follow. */
const uint8_t *cabac_position(const Cabac *c) {
    int64_t bytes_left = (c->ahead - bits_past_end(c)) >> 3;
    return bytes_left > 0 ? c->end - bytes_left : c->end;
}

/* Whether bins were read from behind the end. */
int cabac_past_end(const Cabac *c) { return bits_past_end(c) > c->ahead; }
