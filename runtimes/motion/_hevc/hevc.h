/* The vectors of an HEVC stream: ITU-T H.265, version 1 (Main, Main 10, Main Still Picture).
 *
 * Only syntax and motion are decoded: no sample, residual or filter value is computed. Names are those of the
 * standard; the number in a comment is its clause. One file holds one clause. No library is needed, and no
 * memory beyond the block that the caller hands over. */
#ifndef HEVC_H
#define HEVC_H

#include <stddef.h>
#include <stdint.h>

#include "cabac.h"

enum {
    MAX_SPS = 16,
    MAX_PPS = 64,
    MAX_REF_PICS = 16,           /* sps_max_dec_pic_buffering, A.4.2 */
    MAX_DPB = MAX_REF_PICS + 1,  /* and the current picture */
    MAX_SHORT_TERM_SETS = 64,
    MAX_LONG_TERM_SPS = 32,
    MAX_TILE_COLUMNS = 20,       /* table A.8, level 6.2 */
    MAX_TILE_ROWS = 22,
    MAX_SIDE = 16888,            /* Sqrt(8 * MaxLumaPs), A.4.1, level 6.2 */
    MAX_LUMA_SAMPLES = 35651584,
    MAX_POC = 1 << 29,           /* so that differences of differences fit into 32 bits: 100 days at 60 Hz */
    CELL_LOG2 = 3                /* a cell of the result is 8 samples wide */
};

/* Why something could not be read. parser.py holds the sentences, in this order. */
typedef enum {
    OK,
    TRUNCATED,            /* the NAL unit ends too early */
    DAMAGED,              /* a value that the standard does not allow */
    NO_PARAMETER_SET,
    PARAMETER_SET_CHANGED,/* other than at the start of a coded video sequence */
    SLICE_LOST,           /* the picture's first slice, or slices out of order */
    RANGE_EXTENSION,
    SCREEN_CONTENT,
    CHROMA_FORMAT,
    FIELDS,
    TOO_LARGE             /* the picture does not fit into the memory */
} Reason;

/* 7.4.2.2, table 7-1 */
enum { TRAIL_N = 0, RADL_N = 6, RADL_R = 7, RASL_N = 8, RASL_R = 9, RSV_VCL_N14 = 14, BLA_W_LP = 16,
       BLA_N_LP = 18, IDR_W_RADL = 19, IDR_N_LP = 20, CRA_NUT = 21, RSV_IRAP_VCL23 = 23, RSV_VCL31 = 31,
       VPS_NUT = 32, SPS_NUT = 33, PPS_NUT = 34, EOS_NUT = 36, EOB_NUT = 37 };

enum { SLICE_B, SLICE_P, SLICE_I };                     /* 7.4.7.1, slice_type */
enum { PART_2Nx2N, PART_2NxN, PART_Nx2N, PART_NxN, PART_2NxnU, PART_2NxnD, PART_nLx2N, PART_nRx2N };
enum { MODE_INTER, MODE_INTRA, MODE_SKIP, MODE_HOLE };  /* as the results say it; a hole was never decoded */
enum { UNUSED_FOR_REFERENCE, SHORT_TERM, LONG_TERM };   /* 8.3.2 */

/* A reader of bits. Past the end it gives zeros, and `truncated` stays set. */
typedef struct { const uint8_t *data; uint32_t size, position; int truncated; } Bits;

typedef struct {
    int32_t num_negative_pics, num_positive_pics;
    int32_t DeltaPoc[MAX_REF_PICS];        /* DeltaPocS0, then DeltaPocS1 */
    uint8_t UsedByCurrPic[MAX_REF_PICS];
} ShortTermSet;

typedef struct {
    int32_t present, ChromaArrayType, BitDepthY, BitDepthC, log2_max_pic_order_cnt_lsb;
    int32_t width, height, conf_win_left, conf_win_right, conf_win_top, conf_win_bottom; /* luma samples */
    int32_t MinCbLog2SizeY, CtbLog2SizeY, MinTbLog2SizeY, MaxTbLog2SizeY;
    int32_t PicWidthInCtbsY, PicHeightInCtbsY;
    int32_t max_transform_hierarchy_depth_inter, max_transform_hierarchy_depth_intra;
    int32_t amp_enabled_flag, sample_adaptive_offset_enabled_flag;
    int32_t pcm_enabled_flag, PcmBitDepthY, PcmBitDepthC, Log2MinIpcmCbSizeY, Log2MaxIpcmCbSizeY;
    int32_t num_short_term_ref_pic_sets, long_term_ref_pics_present_flag, num_long_term_ref_pics_sps;
    int32_t sps_temporal_mvp_enabled_flag, max_dec_pic_buffering, max_num_reorder_pics;
    int32_t lt_ref_pic_poc_lsb_sps[MAX_LONG_TERM_SPS];
    uint8_t used_by_curr_pic_lt_sps_flag[MAX_LONG_TERM_SPS];
    ShortTermSet short_term[MAX_SHORT_TERM_SETS];
} SeqParameterSet;

typedef struct {
    int32_t present, pps_seq_parameter_set_id;
    int32_t dependent_slice_segments_enabled_flag, output_flag_present_flag, num_extra_slice_header_bits;
    int32_t sign_data_hiding_enabled_flag, cabac_init_present_flag;
    int32_t num_ref_idx_default_active[2], init_qp;
    int32_t transform_skip_enabled_flag, cu_qp_delta_enabled_flag, diff_cu_qp_delta_depth;
    int32_t pps_slice_chroma_qp_offsets_present_flag, weighted_pred_flag, weighted_bipred_flag;
    int32_t transquant_bypass_enabled_flag, tiles_enabled_flag, entropy_coding_sync_enabled_flag;
    int32_t num_tile_columns, num_tile_rows, uniform_spacing_flag;
    int32_t column_width[MAX_TILE_COLUMNS], row_height[MAX_TILE_ROWS]; /* all but the last */
    int32_t pps_loop_filter_across_slices_enabled_flag, deblocking_filter_override_enabled_flag;
    int32_t pps_deblocking_filter_disabled_flag, lists_modification_present_flag, Log2ParMrgLevel;
    int32_t slice_segment_header_extension_present_flag;
} PicParameterSet;

typedef struct {
    int32_t count, poc_lsb[MAX_REF_PICS];
    int32_t DeltaPocMsbCycleLt[MAX_REF_PICS];
    uint8_t UsedByCurrPicLt[MAX_REF_PICS], delta_poc_msb_present_flag[MAX_REF_PICS];
} LongTermSet;

typedef struct {
    int32_t first_slice_segment_in_pic_flag, slice_pic_parameter_set_id, dependent_slice_segment_flag;
    int32_t slice_segment_address, slice_type, not_output, slice_pic_order_cnt_lsb;
    int32_t slice_temporal_mvp_enabled_flag, slice_sao_luma_flag, slice_sao_chroma_flag;
    int32_t num_ref_idx_active[2], mvd_l1_zero_flag, cabac_init_flag;
    int32_t collocated_from_l0_flag, collocated_ref_idx, MaxNumMergeCand, SliceQpY;
    int32_t list_modification[2];
    uint8_t list_entry[2][MAX_REF_PICS];
    ShortTermSet short_term;
    LongTermSet long_term;
} SliceHeader;

typedef struct { int16_t x, y; } Mv;                    /* quarter luma samples */

/* 8.5.3.2: the motion of a prediction block */
typedef struct {
    Mv mv[2];
    int8_t ref_idx[2];
    uint8_t predFlags;                                  /* bit X: predFlagLX */
    uint8_t inexact;                                    /* derived from a picture that was lost */
} Motion;

/* 8.5.3.2.8: what temporal prediction needs of a 16x16 block of a decoded picture */
typedef struct {
    Mv mv[2];
    int32_t refPicOrderCnt[2];
    uint8_t predFlags, longTerm;                        /* bit X: of list X */
    uint8_t inexact, unused;
} CollocatedMotion;

typedef struct {
    int32_t PicOrderCntVal;
    uint8_t marking, missing, inexact;
    CollocatedMotion *motion;
} DecodedPicture;

typedef struct {
    int32_t count, poc[MAX_REF_PICS];
    int8_t slot[MAX_REF_PICS];
    uint8_t longTerm[MAX_REF_PICS], missing[MAX_REF_PICS];
} RefPicList;

/* A cell of the result, or in tests a block of 4x4 samples. Unused lists are zero. */
typedef struct {
    Mv mv[2];
    int16_t pocDifference[2];                           /* the reference's POC minus the picture's */
    uint8_t mode, lists;                                /* bit X: list X */
    uint8_t flags, unused;
} Cell;
enum { CELL_LONG_TERM = 1, CELL_MISSING_REFERENCE = 2, CELL_INEXACT = 4, CELL_SPLIT = 8 };

/* What is told of a picture. Only int32_t, so that its layout is the same everywhere. */
typedef struct {
    int32_t poc, nal_unit_type, temporal_id, picture_type; /* 'I', 'P' or 'B' */
    int32_t width, height, crop_left, crop_right, crop_top, crop_bottom;
    int32_t cells_across, cells_down;
    int32_t missing_references, ctus_missing, starts;      /* starts: a random access point */
    int32_t dropped;                                       /* nobody can decode it, or it is not to be shown */
    int32_t slices, ctus, largest_poc_span;
    int32_t reordered;                                     /* pictures decoded before one that is shown before them */
} PictureInfo;

typedef struct { int32_t x, y, log2Size, predMode, partMode, bypass, ctDepth, intraChroma; int32_t maxTrafoDepth; } CodingUnit;

typedef struct {
    uint8_t *start;
    size_t size, used, limit;                           /* the packet lies behind the limit */
} Arena;

typedef struct Decoder {
    Arena arena;
    size_t sequence_start;
    int32_t keep_blocks;                                /* tests look at every 4x4 block */

    SeqParameterSet sps[MAX_SPS], active_sps, incoming_sps;
    PicParameterSet pps[MAX_PPS], active_pps, incoming_pps;
    SliceHeader slice, incoming;
    uint8_t z_order[16][16];                            /* 6.5.2, in units of 4x4 samples within a tree block */

    /* the NAL units that wait in the input */
    const uint8_t *input, *input_end;
    int32_t length_size;                                /* bytes of a NAL unit's length; 0: start codes */
    int32_t reasons;                                    /* bit n: Reason n was met since last asked */

    /* 8.3: pictures */
    int32_t picture_open, picture_ready, sequence_active, NoRaslOutputFlag, first_picture;
    int32_t prevTid0PicOrderCnt, current;
    int32_t nal_unit_type, temporal_id;
    int32_t slots, NumPocStCurrBefore, NumPocStCurrAfter, NumPocLtCurr;
    int8_t RefPicSetStCurrBefore[MAX_REF_PICS], RefPicSetStCurrAfter[MAX_REF_PICS], RefPicSetLtCurr[MAX_REF_PICS];
    DecodedPicture dpb[MAX_DPB];
    RefPicList RefPicList[2];
    int32_t NoBackwardPredFlag;
    uint32_t missing_slots;                             /* bit n: slot n is missing and referred to */
    const DecodedPicture *collocated;
    PictureInfo info;

    /* 6.5: the picture's tree blocks */
    uint32_t *CtbAddrRsToTs, *CtbAddrTsToRs;
    uint16_t *TileId;                                   /* by raster address, unlike the standard's */
    int32_t *SliceAddrRs;                               /* of every tree block, -1 before it is decoded */
    int32_t next_ctb_ts, current_slice_addr;

    /* 7.3.8: slice data */
    Bits bits;
    Cabac cabac;
    uint8_t contexts[CONTEXTS], saved_wpp[CONTEXTS], saved_segment[CONTEXTS];
    int32_t saved_segment_valid, IsCuQpDeltaCoded, Log2MinCuQpDeltaSize;
    CodingUnit cu;
    int32_t across4, down4, across8, across16;          /* blocks of 4, 8 and 16 samples in a row */
    Motion *motion;                                     /* by 4x4 */
    uint8_t *intra_mode;                                /* by 4x4; DC where there is none */
    uint8_t *coded;                                     /* by 8x8: mode + 1 (0: not decoded) + ctDepth * 8 */
    Cell *cells, *blocks;
} Decoder;

static inline int min(int a, int b) { return a < b ? a : b; }
static inline int max(int a, int b) { return a > b ? a : b; }
static inline int clip3(int low, int high, int value) { return min(max(value, low), high); }
static inline int ceil_log2(uint32_t value) { int bits = 0; while ((1u << bits) < value) bits++; return bits; }

/* bits.c */
uint32_t u(Bits *bits, int count);
uint32_t ue(Bits *bits, uint32_t largest, Reason *reason);
int32_t se(Bits *bits, int32_t smallest, int32_t largest, Reason *reason);
void skip_bits(Bits *bits, uint32_t count);
int more_bits(const Bits *bits);
uint32_t remove_emulation_prevention(uint8_t *data, uint32_t size);
int next_nal_unit(Decoder *d, const uint8_t **start, uint32_t *size);
int lengths_fit(const uint8_t *data, uint32_t size, int length_size);

/* parameter_sets.c, reference_sets.c, vui.c */
Reason seq_parameter_set(Decoder *d, Bits *bits);
Reason pic_parameter_set(Decoder *d, Bits *bits);
Reason st_ref_pic_set(Bits *bits, const ShortTermSet *sets, int index, int count, ShortTermSet *out);
Reason long_term_ref_pics(Bits *bits, const SeqParameterSet *sps, LongTermSet *out);
Reason vui_parameters(Bits *bits, int maxSubLayersMinus1);

/* slice_header.c */
Reason slice_segment_header(Decoder *d, Bits *bits, int nal_unit_type);

/* pictures.c, sequence.c */
Reason activate(Decoder *d, const SeqParameterSet *sps, const PicParameterSet *pps);
int same_sequence(const Decoder *d, const SeqParameterSet *sps);
int starts_sequence(const Decoder *d, int nal_unit_type);
void set_up_tiles(Decoder *d);
Reason start_picture(Decoder *d);
Reason set_up_reference_lists(Decoder *d);
void finish_picture(Decoder *d);

/* slice_data.c */
Reason slice_segment_data(Decoder *d);
int available_z(const Decoder *d, int xCurr, int yCurr, int xNbY, int yNbY);

/* coding_tree.c, coding_unit.c, transform_tree.c, residual.c, intra.c */
void coding_quadtree(Decoder *d, int x0, int y0, int log2CbSize, int cqtDepth);
void coding_unit(Decoder *d, int x0, int y0, int log2CbSize, int cqtDepth);
void transform_tree(Decoder *d, int x0, int y0, int log2TrafoSize, int trafoDepth,
                    int blkIdx, int parentCbf);
void residual_coding(Decoder *d, int log2TrafoSize, int cIdx, int scanIdx);
int intra_luma_mode(Decoder *d, int xPb, int yPb, int mpm_idx, int rem_intra_luma_pred_mode);
void fill_intra_mode(Decoder *d, int x0, int y0, int size, int mode);

/* prediction_unit.c, merge.c, amvp.c, temporal.c, results.c */
int prediction_unit(Decoder *d, int xPb, int yPb, int nPbW, int nPbH, int partIdx);
Motion merge_motion(Decoder *d, int xPb, int yPb, int nPbW, int nPbH, int partIdx, int merge_idx);
Mv predict_mv(Decoder *d, int xPb, int yPb, int nPbW, int nPbH, int partIdx, int X, int refIdx, int mvp_flag,
              uint8_t *inexact);
const Motion *neighbour(const Decoder *d, int xPb, int yPb, int nPbW, int nPbH, int partIdx, int xNbY, int yNbY);
int temporal_mv(Decoder *d, int xPb, int yPb, int nPbW, int nPbH, int X, int refIdx, Mv *mv, uint8_t *inexact);
Mv scale_mv(Mv mv, int tb, int td);
int same_motion(const Motion *a, const Motion *b);
void store_ctu(Decoder *d, int xCtb, int yCtb);
void distrust_slice(Decoder *d);

#endif
