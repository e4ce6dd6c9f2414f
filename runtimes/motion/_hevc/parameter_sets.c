/* 7.3.2 to 7.3.4: sequence and picture parameter sets. The video parameter set holds nothing that is needed. */
#include "hevc.h"

#define UE(largest) ((int32_t)ue(bits, (uint32_t)(largest), &reason))
#define SE(smallest, largest) se(bits, smallest, largest, &reason)

/* 7.3.3 */
static void profile_tier_level(Bits *bits, int maxNumSubLayersMinus1) {
    int profile_present[8], level_present[8];
    skip_bits(bits, 88 + 8);
    for (int i = 0; i < maxNumSubLayersMinus1; i++) {
        profile_present[i] = (int)u(bits, 1);
        level_present[i] = (int)u(bits, 1);
    }
    if (maxNumSubLayersMinus1) skip_bits(bits, 2 * (uint32_t)(8 - maxNumSubLayersMinus1));
    for (int i = 0; i < maxNumSubLayersMinus1; i++) {
        if (profile_present[i]) skip_bits(bits, 88);
        if (level_present[i]) skip_bits(bits, 8);
    }
}

/* 7.3.4: only its length matters. */
static Reason scaling_list_data(Bits *bits) {
    Reason reason = OK;
    for (int sizeId = 0; sizeId < 4; sizeId++) {
        for (int matrixId = 0; matrixId < 6; matrixId += sizeId == 3 ? 3 : 1) {
            if (!u(bits, 1)) { /* scaling_list_pred_mode_flag */
                UE(5);
                continue;
            }
            int coefNum = min(64, 1 << (4 + (sizeId << 1)));
            if (sizeId > 1) SE(-7, 247);
            for (int i = 0; i < coefNum; i++) SE(-128, 127);
        }
    }
    return reason;
}

/* 7.3.2.2.1: the flags behind the video usability information */
static Reason sps_extensions(Bits *bits) {
    if (!u(bits, 1)) return OK;
    int sps_range_extension_flag = (int)u(bits, 1), sps_multilayer_extension_flag = (int)u(bits, 1);
    int sps_3d_extension_flag = (int)u(bits, 1), sps_scc_extension_flag = (int)u(bits, 1);
    u(bits, 4);
    if (sps_scc_extension_flag) return SCREEN_CONTENT;
    /* Nine flags; when none is set, the stream is as in version 1. */
    if (sps_range_extension_flag && u(bits, 9)) return RANGE_EXTENSION;
    /* The other two say things of further layers, which are not read. */
    (void)sps_multilayer_extension_flag;
    (void)sps_3d_extension_flag;
    return OK;
}

/* Picture size, conformance window, bit depths: 7.3.2.2 up to log2_max_pic_order_cnt_lsb */
static Reason sps_format(Bits *bits, SeqParameterSet *sps) {
    Reason reason = OK;
    int chroma_format_idc = UE(3);
    if (reason) return reason;
    if (chroma_format_idc > 1) return CHROMA_FORMAT;
    sps->ChromaArrayType = chroma_format_idc;
    int unit = chroma_format_idc == 1 ? 2 : 1; /* SubWidthC, SubHeightC */
    sps->width = UE(MAX_SIDE);
    sps->height = UE(MAX_SIDE);
    if (reason) return reason;
    if (!sps->width || !sps->height) return DAMAGED;
    if ((int64_t)sps->width * sps->height > MAX_LUMA_SAMPLES) return TOO_LARGE;
    if (u(bits, 1)) { /* conformance_window_flag */
        sps->conf_win_left = unit * UE(MAX_SIDE);
        sps->conf_win_right = unit * UE(MAX_SIDE);
        sps->conf_win_top = unit * UE(MAX_SIDE);
        sps->conf_win_bottom = unit * UE(MAX_SIDE);
        if (sps->conf_win_left + sps->conf_win_right >= sps->width) return DAMAGED;
        if (sps->conf_win_top + sps->conf_win_bottom >= sps->height) return DAMAGED;
    }
    sps->BitDepthY = 8 + UE(8);
    sps->BitDepthC = 8 + UE(8);
    sps->log2_max_pic_order_cnt_lsb = 4 + UE(12);
    return reason;
}

/* Sizes of coding and transform blocks, 7.4.3.2.1 */
static Reason sps_block_sizes(Bits *bits, SeqParameterSet *sps) {
    Reason reason = OK;
    sps->MinCbLog2SizeY = 3 + UE(3);
    sps->CtbLog2SizeY = sps->MinCbLog2SizeY + UE(3);
    sps->MinTbLog2SizeY = 2 + UE(3);
    sps->MaxTbLog2SizeY = sps->MinTbLog2SizeY + UE(3);
    int deepest = sps->CtbLog2SizeY - sps->MinTbLog2SizeY;
    if (reason) return reason;
    if (sps->CtbLog2SizeY < 4 || sps->CtbLog2SizeY > 6) return DAMAGED;
    if (sps->MinTbLog2SizeY >= sps->MinCbLog2SizeY) return DAMAGED;
    if (sps->MaxTbLog2SizeY > min(sps->CtbLog2SizeY, 5)) return DAMAGED;
    if ((sps->width | sps->height) & ((1 << sps->MinCbLog2SizeY) - 1)) return DAMAGED;
    int ctb = 1 << sps->CtbLog2SizeY;
    sps->PicWidthInCtbsY = (sps->width + ctb - 1) >> sps->CtbLog2SizeY;
    sps->PicHeightInCtbsY = (sps->height + ctb - 1) >> sps->CtbLog2SizeY;
    sps->max_transform_hierarchy_depth_inter = UE(deepest);
    sps->max_transform_hierarchy_depth_intra = UE(deepest);
    return reason;
}

static Reason sps_pcm(Bits *bits, SeqParameterSet *sps) {
    Reason reason = OK;
    sps->PcmBitDepthY = 1 + (int32_t)u(bits, 4);
    sps->PcmBitDepthC = 1 + (int32_t)u(bits, 4);
    sps->Log2MinIpcmCbSizeY = 3 + UE(2);
    sps->Log2MaxIpcmCbSizeY = sps->Log2MinIpcmCbSizeY + UE(2);
    u(bits, 1); /* pcm_loop_filter_disabled_flag */
    if (reason) return reason;
    if (sps->PcmBitDepthY > sps->BitDepthY || sps->PcmBitDepthC > sps->BitDepthC) return DAMAGED;
    return sps->Log2MaxIpcmCbSizeY > min(sps->CtbLog2SizeY, 5) ? DAMAGED : OK;
}

/* 7.3.2.2.1 */
Reason seq_parameter_set(Decoder *d, Bits *bits) {
    Reason reason = OK;
    SeqParameterSet *sps = &d->incoming_sps;
    *sps = (SeqParameterSet){0};
    u(bits, 4); /* sps_video_parameter_set_id */
    int sps_max_sub_layers_minus1 = (int)u(bits, 3);
    if (sps_max_sub_layers_minus1 > 6) return DAMAGED;
    u(bits, 1); /* sps_temporal_id_nesting_flag */
    profile_tier_level(bits, sps_max_sub_layers_minus1);
    int id = UE(MAX_SPS - 1);
    if (reason || (reason = sps_format(bits, sps))) return reason;
    int all_layers = (int)u(bits, 1); /* sps_sub_layer_ordering_info_present_flag */
    for (int i = all_layers ? 0 : sps_max_sub_layers_minus1; i <= sps_max_sub_layers_minus1; i++) {
        sps->max_dec_pic_buffering = 1 + UE(MAX_REF_PICS - 1);
        sps->max_num_reorder_pics = UE(MAX_REF_PICS - 1);
        UE(0xfffffffe); /* sps_max_latency_increase_plus1 */
    }
    if (reason || (reason = sps_block_sizes(bits, sps))) return reason;
    if (u(bits, 1) && u(bits, 1)) reason = scaling_list_data(bits);
    sps->amp_enabled_flag = (int32_t)u(bits, 1);
    sps->sample_adaptive_offset_enabled_flag = (int32_t)u(bits, 1);
    sps->pcm_enabled_flag = (int32_t)u(bits, 1);
    if (sps->pcm_enabled_flag && !reason) reason = sps_pcm(bits, sps);
    sps->num_short_term_ref_pic_sets = UE(MAX_SHORT_TERM_SETS);
    for (int i = 0; i < sps->num_short_term_ref_pic_sets && !reason; i++)
        reason = st_ref_pic_set(bits, sps->short_term, i, sps->num_short_term_ref_pic_sets, &sps->short_term[i]);
    if (reason) return reason;
    sps->long_term_ref_pics_present_flag = (int32_t)u(bits, 1);
    if (sps->long_term_ref_pics_present_flag) {
        sps->num_long_term_ref_pics_sps = UE(MAX_LONG_TERM_SPS);
        for (int i = 0; i < sps->num_long_term_ref_pics_sps; i++) {
            sps->lt_ref_pic_poc_lsb_sps[i] = (int32_t)u(bits, sps->log2_max_pic_order_cnt_lsb);
            sps->used_by_curr_pic_lt_sps_flag[i] = (uint8_t)u(bits, 1);
        }
    }
    sps->sps_temporal_mvp_enabled_flag = (int32_t)u(bits, 1);
    u(bits, 1); /* strong_intra_smoothing_enabled_flag */
    if (u(bits, 1) && !reason) reason = vui_parameters(bits, sps_max_sub_layers_minus1);
    if (!reason) reason = sps_extensions(bits);
    if (!reason && bits->truncated) reason = TRUNCATED;
    if (reason) return reason;
    sps->present = 1;
    d->sps[id] = *sps;
    return OK;
}

static Reason pps_tiles(Bits *bits, PicParameterSet *pps) {
    Reason reason = OK;
    pps->num_tile_columns = 1 + UE(MAX_TILE_COLUMNS - 1);
    pps->num_tile_rows = 1 + UE(MAX_TILE_ROWS - 1);
    pps->uniform_spacing_flag = (int32_t)u(bits, 1);
    if (!pps->uniform_spacing_flag) {
        for (int i = 0; i + 1 < pps->num_tile_columns; i++) pps->column_width[i] = 1 + UE(MAX_SIDE / 16);
        for (int i = 0; i + 1 < pps->num_tile_rows; i++) pps->row_height[i] = 1 + UE(MAX_SIDE / 16);
    }
    u(bits, 1); /* loop_filter_across_tiles_enabled_flag */
    return reason;
}

/* The last flags of 7.3.2.3.1 */
static Reason pps_extensions(const PicParameterSet *pps, Bits *bits) {
    if (!u(bits, 1)) return OK;
    int pps_range_extension_flag = (int)u(bits, 1);
    u(bits, 2); /* multilayer, 3D: of further layers */
    int pps_scc_extension_flag = (int)u(bits, 1);
    u(bits, 4);
    if (pps_scc_extension_flag) return SCREEN_CONTENT;
    if (!pps_range_extension_flag) return OK;
    Reason reason = OK;
    /* 7.3.2.3.2: as long as all is switched off, the stream is as in version 1. */
    if (pps->transform_skip_enabled_flag && UE(30)) return RANGE_EXTENSION;
    if (u(bits, 2)) return RANGE_EXTENSION; /* cross_component_prediction, chroma_qp_offset_list */
    return reason;                          /* the offsets of SAO's scale change no syntax */
}

/* 7.3.2.3.1 */
Reason pic_parameter_set(Decoder *d, Bits *bits) {
    Reason reason = OK;
    PicParameterSet *pps = &d->incoming_pps;
    *pps = (PicParameterSet){0};
    int id = UE(MAX_PPS - 1);
    pps->pps_seq_parameter_set_id = UE(MAX_SPS - 1);
    if (reason) return reason;
    pps->dependent_slice_segments_enabled_flag = (int32_t)u(bits, 1);
    pps->output_flag_present_flag = (int32_t)u(bits, 1);
    pps->num_extra_slice_header_bits = (int32_t)u(bits, 3);
    pps->sign_data_hiding_enabled_flag = (int32_t)u(bits, 1);
    pps->cabac_init_present_flag = (int32_t)u(bits, 1);
    for (int X = 0; X < 2; X++) pps->num_ref_idx_default_active[X] = 1 + UE(14);
    pps->init_qp = 26 + SE(-26 - 48, 25);
    u(bits, 1); /* constrained_intra_pred_flag */
    pps->transform_skip_enabled_flag = (int32_t)u(bits, 1);
    pps->cu_qp_delta_enabled_flag = (int32_t)u(bits, 1);
    if (pps->cu_qp_delta_enabled_flag) pps->diff_cu_qp_delta_depth = UE(3);
    SE(-12, 12); /* pps_cb_qp_offset */
    SE(-12, 12); /* pps_cr_qp_offset */
    pps->pps_slice_chroma_qp_offsets_present_flag = (int32_t)u(bits, 1);
    pps->weighted_pred_flag = (int32_t)u(bits, 1);
    pps->weighted_bipred_flag = (int32_t)u(bits, 1);
    pps->transquant_bypass_enabled_flag = (int32_t)u(bits, 1);
    pps->tiles_enabled_flag = (int32_t)u(bits, 1);
    pps->entropy_coding_sync_enabled_flag = (int32_t)u(bits, 1);
    pps->num_tile_columns = pps->num_tile_rows = pps->uniform_spacing_flag = 1;
    if (pps->tiles_enabled_flag && !reason) reason = pps_tiles(bits, pps);
    pps->pps_loop_filter_across_slices_enabled_flag = (int32_t)u(bits, 1);
    if (u(bits, 1)) { /* deblocking_filter_control_present_flag */
        pps->deblocking_filter_override_enabled_flag = (int32_t)u(bits, 1);
        pps->pps_deblocking_filter_disabled_flag = (int32_t)u(bits, 1);
        if (!pps->pps_deblocking_filter_disabled_flag) {
            SE(-6, 6); /* pps_beta_offset_div2 */
            SE(-6, 6); /* pps_tc_offset_div2 */
        }
    }
    if (u(bits, 1) && !reason) reason = scaling_list_data(bits);
    pps->lists_modification_present_flag = (int32_t)u(bits, 1);
    pps->Log2ParMrgLevel = 2 + UE(4);
    pps->slice_segment_header_extension_present_flag = (int32_t)u(bits, 1);
    if (!reason) reason = pps_extensions(pps, bits);
    if (!reason && bits->truncated) reason = TRUNCATED;
    if (reason) return reason;
    pps->present = 1;
    d->pps[id] = *pps;
    return OK;
}
