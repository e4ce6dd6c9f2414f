/* 7.3.6: the slice segment header. */
#include "hevc.h"

#define UE(largest) ((int32_t)ue(bits, (uint32_t)(largest), &reason))
#define SE(smallest, largest) se(bits, smallest, largest, &reason)

static int is_idr(int nal_unit_type) { return nal_unit_type == IDR_W_RADL || nal_unit_type == IDR_N_LP; }
static int is_irap(int nal_unit_type) { return nal_unit_type >= BLA_W_LP && nal_unit_type <= RSV_IRAP_VCL23; }

/* 7-55: how many pictures this one may refer to */
static int num_pic_total_curr(const SliceHeader *slice) {
    int total = 0;
    const ShortTermSet *sets = &slice->short_term;
    for (int i = 0; i < sets->num_negative_pics + sets->num_positive_pics; i++) total += sets->UsedByCurrPic[i];
    for (int i = 0; i < slice->long_term.count; i++) total += slice->long_term.UsedByCurrPicLt[i];
    return total;
}

/* 7.3.6.3: its values only move samples */
static Reason pred_weight_table(Bits *bits, const SliceHeader *slice, int ChromaArrayType) {
    Reason reason = OK;
    UE(7);                            /* luma_log2_weight_denom */
    if (ChromaArrayType) SE(-7, 7);   /* delta_chroma_log2_weight_denom */
    for (int X = 0; X < (slice->slice_type == SLICE_B ? 2 : 1); X++) {
        int count = slice->num_ref_idx_active[X];
        uint32_t luma_weight_flags = u(bits, count);
        uint32_t chroma_weight_flags = ChromaArrayType ? u(bits, count) : 0;
        for (int i = count - 1; i >= 0; i--) {
            if (luma_weight_flags >> i & 1) {
                SE(-128, 127);
                SE(-32768, 32767);
            }
            if (chroma_weight_flags >> i & 1) {
                for (int j = 0; j < 2; j++) {
                    SE(-128, 127);
                    SE(-262144, 262143);
                }
            }
        }
    }
    return reason;
}

/* 7.3.6.2 */
static Reason ref_pic_lists_modification(Bits *bits, SliceHeader *slice, int NumPicTotalCurr) {
    for (int X = 0; X < (slice->slice_type == SLICE_B ? 2 : 1); X++) {
        slice->list_modification[X] = (int32_t)u(bits, 1);
        for (int i = 0; slice->list_modification[X] && i < slice->num_ref_idx_active[X]; i++) {
            slice->list_entry[X][i] = (uint8_t)u(bits, ceil_log2((uint32_t)NumPicTotalCurr));
            if (slice->list_entry[X][i] >= NumPicTotalCurr) return DAMAGED;
        }
    }
    return OK;
}

/* The part that pictures other than IDR have: which pictures they refer to */
static Reason reference_pictures(Bits *bits, SliceHeader *slice, const SeqParameterSet *sps) {
    Reason reason = OK;
    int sets = sps->num_short_term_ref_pic_sets;
    slice->slice_pic_order_cnt_lsb = (int32_t)u(bits, sps->log2_max_pic_order_cnt_lsb);
    if (!u(bits, 1)) { /* short_term_ref_pic_set_sps_flag */
        reason = st_ref_pic_set(bits, sps->short_term, sets, sets, &slice->short_term);
    } else {
        int short_term_ref_pic_set_idx = (int)u(bits, ceil_log2((uint32_t)max(sets, 1)));
        if (short_term_ref_pic_set_idx >= sets) return DAMAGED;
        slice->short_term = sps->short_term[short_term_ref_pic_set_idx];
    }
    if (reason) return reason;
    if (sps->long_term_ref_pics_present_flag) reason = long_term_ref_pics(bits, sps, &slice->long_term);
    const ShortTermSet *short_term = &slice->short_term;
    int kept = short_term->num_negative_pics + short_term->num_positive_pics + slice->long_term.count;
    if (!reason && kept > MAX_REF_PICS) reason = DAMAGED;
    if (sps->sps_temporal_mvp_enabled_flag) slice->slice_temporal_mvp_enabled_flag = (int32_t)u(bits, 1);
    return reason;
}

/* The part that P and B slices have */
static Reason inter_prediction(Bits *bits, SliceHeader *slice, const SeqParameterSet *sps,
                               const PicParameterSet *pps) {
    Reason reason = OK;
    int B = slice->slice_type == SLICE_B;
    for (int X = 0; X < 2; X++) slice->num_ref_idx_active[X] = X <= B ? pps->num_ref_idx_default_active[X] : 0;
    if (u(bits, 1)) { /* num_ref_idx_active_override_flag */
        for (int X = 0; X <= B; X++) slice->num_ref_idx_active[X] = 1 + UE(14);
    }
    int NumPicTotalCurr = num_pic_total_curr(slice);
    if (reason) return reason;
    if (!NumPicTotalCurr) return DAMAGED;
    if (pps->lists_modification_present_flag && NumPicTotalCurr > 1)
        reason = ref_pic_lists_modification(bits, slice, NumPicTotalCurr);
    if (B) slice->mvd_l1_zero_flag = (int32_t)u(bits, 1);
    if (pps->cabac_init_present_flag) slice->cabac_init_flag = (int32_t)u(bits, 1);
    slice->collocated_from_l0_flag = 1;
    if (slice->slice_temporal_mvp_enabled_flag) {
        if (B) slice->collocated_from_l0_flag = (int32_t)u(bits, 1);
        int X = slice->collocated_from_l0_flag ? 0 : 1;
        if (slice->num_ref_idx_active[X] > 1) slice->collocated_ref_idx = UE(slice->num_ref_idx_active[X] - 1);
    }
    if (!reason && (B ? pps->weighted_bipred_flag : pps->weighted_pred_flag))
        reason = pred_weight_table(bits, slice, sps->ChromaArrayType);
    slice->MaxNumMergeCand = 5 - UE(4);
    return reason;
}

/* The last part: of the quantiser and the filters, nothing but the contexts' quantiser is kept. */
static Reason quantiser_and_filters(Bits *bits, SliceHeader *slice, const SeqParameterSet *sps,
                                    const PicParameterSet *pps) {
    Reason reason = OK;
    slice->SliceQpY = pps->init_qp + SE(-128, 128);
    int QpBdOffsetY = 6 * (sps->BitDepthY - 8);
    if (!reason && (slice->SliceQpY < -QpBdOffsetY || slice->SliceQpY > 51)) return DAMAGED;
    if (pps->pps_slice_chroma_qp_offsets_present_flag) {
        SE(-12, 12);
        SE(-12, 12);
    }
    int overridden = pps->deblocking_filter_override_enabled_flag && u(bits, 1);
    int slice_deblocking_filter_disabled_flag = pps->pps_deblocking_filter_disabled_flag;
    if (overridden) {
        slice_deblocking_filter_disabled_flag = (int)u(bits, 1);
        if (!slice_deblocking_filter_disabled_flag) {
            SE(-6, 6);
            SE(-6, 6);
        }
    }
    if (pps->pps_loop_filter_across_slices_enabled_flag &&
        (slice->slice_sao_luma_flag || slice->slice_sao_chroma_flag || !slice_deblocking_filter_disabled_flag))
        u(bits, 1); /* slice_loop_filter_across_slices_enabled_flag */
    return reason;
}

/* What only the first segment of a slice holds */
static Reason independent_part(Bits *bits, SliceHeader *slice, const SeqParameterSet *sps,
                               const PicParameterSet *pps, int nal_unit_type) {
    Reason reason = OK;
    u(bits, pps->num_extra_slice_header_bits);
    slice->slice_type = UE(2);
    if (pps->output_flag_present_flag) slice->not_output = !u(bits, 1);
    if (!is_idr(nal_unit_type) && !reason) reason = reference_pictures(bits, slice, sps);
    if (sps->sample_adaptive_offset_enabled_flag) {
        slice->slice_sao_luma_flag = (int32_t)u(bits, 1);
        if (sps->ChromaArrayType) slice->slice_sao_chroma_flag = (int32_t)u(bits, 1);
    }
    if (!reason && slice->slice_type != SLICE_I) reason = inter_prediction(bits, slice, sps, pps);
    if (!reason) reason = quantiser_and_filters(bits, slice, sps, pps);
    return reason;
}

/* 7.3.6.1. Leaves the header in d->incoming and the reader at the first byte of the slice's data. */
Reason slice_segment_header(Decoder *d, Bits *bits, int nal_unit_type) {
    Reason reason = OK;
    int first_slice_segment_in_pic_flag = (int)u(bits, 1);
    if (is_irap(nal_unit_type)) u(bits, 1); /* no_output_of_prior_pics_flag */
    int id = UE(MAX_PPS - 1);
    if (reason) return reason;
    const PicParameterSet *pps = &d->active_pps;
    const SeqParameterSet *sps = &d->active_sps;
    if (first_slice_segment_in_pic_flag) {
        pps = &d->pps[id];
        sps = &d->sps[pps->pps_seq_parameter_set_id];
        if (!pps->present || !sps->present) return NO_PARAMETER_SET;
        if (!starts_sequence(d, nal_unit_type) && !same_sequence(d, sps)) return PARAMETER_SET_CHANGED;
    } else if (!d->picture_open || d->slice.slice_pic_parameter_set_id != id) {
        return SLICE_LOST;
    }
    SliceHeader *slice = &d->incoming;
    uint32_t address = 0, PicSizeInCtbsY = (uint32_t)(sps->PicWidthInCtbsY * sps->PicHeightInCtbsY);
    int dependent_slice_segment_flag = 0;
    if (!first_slice_segment_in_pic_flag) {
        if (pps->dependent_slice_segments_enabled_flag) dependent_slice_segment_flag = (int)u(bits, 1);
        address = u(bits, ceil_log2(PicSizeInCtbsY));
        if (address >= PicSizeInCtbsY) return DAMAGED;
    }
    if (dependent_slice_segment_flag) {
        *slice = d->slice; /* 7.4.7.1: the rest is that of the slice's first segment */
    } else {
        *slice = (SliceHeader){0};
        reason = independent_part(bits, slice, sps, pps, nal_unit_type);
    }
    slice->first_slice_segment_in_pic_flag = first_slice_segment_in_pic_flag;
    slice->dependent_slice_segment_flag = dependent_slice_segment_flag;
    slice->slice_segment_address = (int32_t)address;
    slice->slice_pic_parameter_set_id = id;
    /* Entry points are not needed: a substream starts at the byte behind the one before. */
    if (!reason && (pps->tiles_enabled_flag || pps->entropy_coding_sync_enabled_flag)) {
        uint32_t num_entry_point_offsets = (uint32_t)UE(PicSizeInCtbsY);
        if (num_entry_point_offsets) {
            uint32_t offset_len = 1 + (uint32_t)UE(31);
            skip_bits(bits, num_entry_point_offsets * offset_len);
        }
    }
    if (!reason && pps->slice_segment_header_extension_present_flag) skip_bits(bits, 8 * (uint32_t)UE(256));
    if (!reason && !u(bits, 1)) reason = DAMAGED; /* byte_alignment(), 7.3.2.5 */
    bits->position = (bits->position + 7) & ~7u;
    if (!reason && (bits->truncated || bits->position >= bits->size * 8)) reason = TRUNCATED;
    return reason;
}
