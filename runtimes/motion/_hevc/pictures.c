/* 8.1 and 8.3: picture order counts, reference picture sets and lists, the decoded picture buffer. */
#include "hevc.h"

static int is_irap(const Decoder *d) { return d->nal_unit_type >= BLA_W_LP && d->nal_unit_type <= RSV_IRAP_VCL23; }
static int is_rasl(const Decoder *d) { return d->nal_unit_type == RASL_N || d->nal_unit_type == RASL_R; }
static int is_radl(const Decoder *d) { return d->nal_unit_type == RADL_N || d->nal_unit_type == RADL_R; }

/* 8.1.3: whether nothing before this picture counts. Who joins a stream without random access points (intra
 * refresh) starts anywhere, with references missing. */
int starts_sequence(const Decoder *d, int nal_unit_type) {
    return d->first_picture || (nal_unit_type >= BLA_W_LP && nal_unit_type <= IDR_N_LP);
}

/* 8.3.1 */
static int32_t pic_order_cnt(const Decoder *d, int restarts) {
    int64_t MaxLsb = (int64_t)1 << d->active_sps.log2_max_pic_order_cnt_lsb;
    int64_t lsb = d->incoming.slice_pic_order_cnt_lsb, msb = 0;
    if (!restarts) {
        int64_t prevLsb = d->prevTid0PicOrderCnt & (MaxLsb - 1), prevMsb = d->prevTid0PicOrderCnt - prevLsb;
        msb = prevMsb;
        if (lsb < prevLsb && prevLsb - lsb >= MaxLsb / 2) msb = prevMsb + MaxLsb;
        if (lsb > prevLsb && lsb - prevLsb > MaxLsb / 2) msb = prevMsb - MaxLsb;
    }
    int64_t count = msb + lsb;
    return (int32_t)(count > MAX_POC || count < -MAX_POC ? lsb : count);
}

static int find(const Decoder *d, int64_t poc, int64_t mask, int long_term_too) {
    for (int i = 0; i < d->slots; i++) {
        const DecodedPicture *picture = &d->dpb[i];
        if (picture->marking == UNUSED_FOR_REFERENCE || (!long_term_too && picture->marking != SHORT_TERM)) continue;
        if ((picture->PicOrderCntVal & mask) == (poc & mask)) return i;
    }
    return -1;
}

static int free_slot(const Decoder *d) {
    for (int i = 0; i < d->slots; i++) {
        if (d->dpb[i].marking == UNUSED_FOR_REFERENCE) return i;
    }
    return -1;
}

/* 8.3.3: a picture in place of one that was lost. It has no motion. */
static int generate_missing(Decoder *d, int64_t poc, int marking) {
    int slot = free_slot(d);
    if (slot < 0) return -1;
    DecodedPicture *picture = &d->dpb[slot];
    *picture = (DecodedPicture){(int32_t)poc, (uint8_t)marking, 1, 1, picture->motion};
    size_t blocks = (size_t)d->across16 * (size_t)((d->active_sps.height + 15) >> 4);
    for (size_t i = 0; i < blocks; i++) picture->motion[i] = (CollocatedMotion){.inexact = 1};
    return slot;
}

/* 8.3.2: who stays, and who this picture refers to. The first pass looks, the second adds what is missing,
 * when the places of those who do not stay are free. */
static Reason reference_picture_set(Decoder *d) {
    const SliceHeader *slice = &d->incoming;
    const ShortTermSet *short_term = &slice->short_term;
    const LongTermSet *long_term = &slice->long_term;
    int64_t poc = d->info.poc, MaxLsb = (int64_t)1 << d->active_sps.log2_max_pic_order_cnt_lsb;
    int64_t wanted[2 * MAX_REF_PICS];
    int found[2 * MAX_REF_PICS], stays[MAX_DPB] = {0}, total = 0;
    for (int i = 0; i < long_term->count; i++, total++) {
        wanted[total] = long_term->poc_lsb[i];
        int64_t mask = MaxLsb - 1;
        if (long_term->delta_poc_msb_present_flag[i]) {
            wanted[total] += poc - long_term->DeltaPocMsbCycleLt[i] * MaxLsb - (poc & (MaxLsb - 1));
            mask = -1;
        }
        found[total] = find(d, wanted[total], mask, 1);
    }
    for (int i = 0; i < short_term->num_negative_pics + short_term->num_positive_pics; i++, total++) {
        wanted[total] = poc + short_term->DeltaPoc[i];
        found[total] = find(d, wanted[total], -1, 0);
        for (int j = 0; j < long_term->count; j++) {
            if (found[j] >= 0 && found[j] == found[total]) found[total] = -1;
        }
    }
    for (int i = 0; i < total; i++) {
        if (found[i] < 0) continue;
        stays[found[i]] = 1;
        d->dpb[found[i]].marking = i < long_term->count ? LONG_TERM : SHORT_TERM;
    }
    for (int i = 0; i < d->slots; i++) {
        if (!stays[i]) d->dpb[i].marking = UNUSED_FOR_REFERENCE;
    }
    d->NumPocStCurrBefore = d->NumPocStCurrAfter = d->NumPocLtCurr = 0;
    for (int i = 0; i < total && !is_irap(d); i++) {
        int is_long = i < long_term->count, j = i - long_term->count;
        if (!(is_long ? long_term->UsedByCurrPicLt[i] : short_term->UsedByCurrPic[j])) continue;
        if (wanted[i] > MAX_POC || wanted[i] < -MAX_POC) return DAMAGED;
        if (found[i] < 0) found[i] = generate_missing(d, wanted[i], is_long ? LONG_TERM : SHORT_TERM);
        if (found[i] < 0) return TOO_LARGE;
        if (is_long)
            d->RefPicSetLtCurr[d->NumPocLtCurr++] = (int8_t)found[i];
        else if (j < short_term->num_negative_pics)
            d->RefPicSetStCurrBefore[d->NumPocStCurrBefore++] = (int8_t)found[i];
        else
            d->RefPicSetStCurrAfter[d->NumPocStCurrAfter++] = (int8_t)found[i];
    }
    return OK;
}

/* 8.1.3: at a picture's first slice, whose header is d->incoming */
Reason start_picture(Decoder *d) {
    int restarts = starts_sequence(d, d->nal_unit_type);
    if (is_irap(d) || restarts) d->NoRaslOutputFlag = restarts;
    const PicParameterSet *pps = &d->pps[d->incoming.slice_pic_parameter_set_id];
    Reason reason = activate(d, &d->sps[pps->pps_seq_parameter_set_id], pps);
    if (reason) return reason;
    const SeqParameterSet *sps = &d->active_sps;
    d->first_picture = 0;
    d->info = (PictureInfo){.nal_unit_type = d->nal_unit_type, .temporal_id = d->temporal_id, .picture_type = 'I',
                            .width = sps->width, .height = sps->height, .crop_left = sps->conf_win_left,
                            .crop_right = sps->conf_win_right, .crop_top = sps->conf_win_top,
                            .crop_bottom = sps->conf_win_bottom, .starts = restarts, .cells_across = d->across8,
                            .cells_down = (sps->height + 7) >> 3};
    d->info.poc = pic_order_cnt(d, restarts);
    int sub_layer_non_reference = d->nal_unit_type <= RSV_VCL_N14 && d->nal_unit_type % 2 == 0;
    if (!d->temporal_id && !is_rasl(d) && !is_radl(d) && !sub_layer_non_reference) d->prevTid0PicOrderCnt = d->info.poc;
    if (restarts) {
        for (int i = 0; i < d->slots; i++) d->dpb[i].marking = UNUSED_FOR_REFERENCE;
    }
    /* Leading pictures of a random access point refer to what stands before it (8.3.3.1). */
    d->info.dropped = (is_rasl(d) && d->NoRaslOutputFlag) || d->incoming.not_output;
    d->info.reordered = sps->max_num_reorder_pics;
    reason = reference_picture_set(d);
    if (reason) return reason;
    d->current = free_slot(d);
    if (d->current < 0) return TOO_LARGE;
    size_t of8 = (size_t)d->across8 * (size_t)d->info.cells_down;
    __builtin_memset(d->coded, 0, of8);
    for (size_t i = 0; i < of8; i++) d->cells[i] = (Cell){.mode = MODE_HOLE};
    if (d->blocks) {
        size_t of4 = (size_t)d->across4 * (size_t)(sps->height >> 2);
        for (size_t i = 0; i < of4; i++) d->blocks[i] = (Cell){.mode = MODE_HOLE};
    }
    int ctbs = sps->PicWidthInCtbsY * sps->PicHeightInCtbsY;
    for (int i = 0; i < ctbs; i++) d->SliceAddrRs[i] = -1;
    size_t of16 = (size_t)d->across16 * (size_t)((sps->height + 15) >> 4);
    DecodedPicture *current = &d->dpb[d->current];
    *current = (DecodedPicture){d->info.poc, SHORT_TERM, 0, 0, current->motion};
    for (size_t i = 0; i < of16; i++) current->motion[i] = (CollocatedMotion){.inexact = 1};
    d->next_ctb_ts = 0;
    d->missing_slots = 0;
    d->saved_segment_valid = 0;
    d->picture_open = 1;
    return OK;
}

/* 8.3.4: for every P or B slice */
Reason set_up_reference_lists(Decoder *d) {
    const SliceHeader *slice = &d->slice;
    d->NoBackwardPredFlag = 1;
    d->collocated = 0;
    d->RefPicList[0].count = d->RefPicList[1].count = 0;
    if (slice->slice_type == SLICE_I) return OK;
    int total = d->NumPocStCurrBefore + d->NumPocStCurrAfter + d->NumPocLtCurr;
    if (!total) return DAMAGED;
    for (int X = 0; X <= (slice->slice_type == SLICE_B); X++) {
        const int8_t *near = X ? d->RefPicSetStCurrAfter : d->RefPicSetStCurrBefore;
        const int8_t *far = X ? d->RefPicSetStCurrBefore : d->RefPicSetStCurrAfter;
        int near_count = X ? d->NumPocStCurrAfter : d->NumPocStCurrBefore, short_count = total - d->NumPocLtCurr;
        RefPicList *list = &d->RefPicList[X];
        list->count = slice->num_ref_idx_active[X];
        for (int i = 0; i < list->count; i++) {
            int entry = slice->list_modification[X] ? slice->list_entry[X][i] : i % total;
            if (entry >= total) return DAMAGED;
            int slot = entry < near_count    ? near[entry]
                       : entry < short_count ? far[entry - near_count]
                                             : d->RefPicSetLtCurr[entry - short_count];
            list->slot[i] = (int8_t)slot;
            list->poc[i] = d->dpb[slot].PicOrderCntVal;
            list->longTerm[i] = entry >= short_count;
            list->missing[i] = d->dpb[slot].missing;
            if (list->missing[i] && !(d->missing_slots >> slot & 1)) d->info.missing_references++;
            if (list->missing[i]) d->missing_slots |= 1u << slot;
            if (list->poc[i] > d->info.poc) d->NoBackwardPredFlag = 0;
        }
    }
    if (slice->slice_temporal_mvp_enabled_flag) {
        const RefPicList *list = &d->RefPicList[slice->collocated_from_l0_flag ? 0 : 1];
        if (slice->collocated_ref_idx >= list->count) return DAMAGED;
        d->collocated = &d->dpb[list->slot[slice->collocated_ref_idx]];
    }
    return OK;
}

/* After the last slice: the picture waits in d->info and d->cells. */
void finish_picture(Decoder *d) {
    if (!d->picture_open) return;
    d->picture_open = 0;
    d->picture_ready = 1;
    int ctbs = d->active_sps.PicWidthInCtbsY * d->active_sps.PicHeightInCtbsY;
    d->info.ctus_missing = ctbs - d->info.ctus;
}
