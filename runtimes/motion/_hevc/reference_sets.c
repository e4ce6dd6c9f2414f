/* 7.3.7 and part of 7.3.6.1: which pictures stay for reference. */
#include "hevc.h"

#define UE(largest) ((int32_t)ue(bits, (uint32_t)(largest), &reason))

/* Appends a picture of the wanted side (7.4.8, equations 7-61 and 7-62). */
static int append(ShortTermSet *out, int *count, int side, int64_t dPoc, int used, int use_delta) {
    if (!use_delta || (side < 0 ? dPoc >= 0 : dPoc <= 0)) return 1;
    if (*count == MAX_REF_PICS || dPoc < -32768 || dPoc > 32767) return 0;
    out->DeltaPoc[*count] = (int32_t)dPoc;
    out->UsedByCurrPic[(*count)++] = (uint8_t)used;
    return 1;
}

static Reason predicted_set(Bits *bits, const ShortTermSet *ref, ShortTermSet *out) {
    Reason reason = OK;
    int delta_rps_sign = (int)u(bits, 1), abs_delta_rps = 1 + UE(32767);
    int deltaRps = delta_rps_sign ? -abs_delta_rps : abs_delta_rps;
    int negative = ref->num_negative_pics, total = negative + ref->num_positive_pics;
    uint8_t used[MAX_REF_PICS + 1], use_delta[MAX_REF_PICS + 1];
    for (int j = 0; j <= total; j++) {
        used[j] = (uint8_t)u(bits, 1);
        use_delta[j] = used[j] ? 1 : (uint8_t)u(bits, 1);
    }
    int count = 0, ok = 1;
    for (int side = -1; side <= 1; side += 2) {
        /* From the nearest picture outwards: the other side's backwards, the set's own picture, this side's. */
        int near_first = side < 0 ? negative : 0, near_last = side < 0 ? total : negative;
        int far_first = side < 0 ? 0 : negative, far_last = side < 0 ? negative : total;
        for (int j = near_last - 1; j >= near_first; j--)
            ok &= append(out, &count, side, (int64_t)ref->DeltaPoc[j] + deltaRps, used[j], use_delta[j]);
        ok &= append(out, &count, side, deltaRps, used[total], use_delta[total]);
        for (int j = far_first; j < far_last; j++)
            ok &= append(out, &count, side, (int64_t)ref->DeltaPoc[j] + deltaRps, used[j], use_delta[j]);
        if (side < 0) out->num_negative_pics = count;
    }
    out->num_positive_pics = count - out->num_negative_pics;
    return ok ? reason : DAMAGED;
}

/* 7.3.7: st_ref_pic_set( index ) of `count` sets */
Reason st_ref_pic_set(Bits *bits, const ShortTermSet *sets, int index, int count, ShortTermSet *out) {
    Reason reason = OK;
    *out = (ShortTermSet){0};
    if (index && u(bits, 1)) { /* inter_ref_pic_set_prediction_flag */
        int delta_idx = index == count ? 1 + UE(index - 1) : 1;
        return reason ? reason : predicted_set(bits, &sets[index - delta_idx], out);
    }
    out->num_negative_pics = UE(MAX_REF_PICS);
    out->num_positive_pics = UE(MAX_REF_PICS - out->num_negative_pics);
    int dPoc = 0, total = out->num_negative_pics + out->num_positive_pics;
    for (int i = 0; i < total && !reason; i++) {
        if (i == out->num_negative_pics) dPoc = 0;
        int delta = 1 + UE(32767);
        dPoc += i < out->num_negative_pics ? -delta : delta;
        if (dPoc < -32768 || dPoc > 32767) return DAMAGED;
        out->DeltaPoc[i] = dPoc;
        out->UsedByCurrPic[i] = (uint8_t)u(bits, 1);
    }
    return reason;
}

/* 7.3.6.1, from num_long_term_sps on; 7.4.7.1, equation 7-52 */
Reason long_term_ref_pics(Bits *bits, const SeqParameterSet *sps, LongTermSet *out) {
    Reason reason = OK;
    int num_long_term_sps = sps->num_long_term_ref_pics_sps ? UE(MAX_REF_PICS) : 0;
    int num_long_term_pics = UE(MAX_REF_PICS);
    if (reason) return reason;
    if (num_long_term_sps > sps->num_long_term_ref_pics_sps) return DAMAGED;
    if (num_long_term_sps + num_long_term_pics > MAX_REF_PICS) return DAMAGED;
    out->count = num_long_term_sps + num_long_term_pics;
    uint32_t cycle = 0;
    for (int i = 0; i < out->count; i++) {
        if (i < num_long_term_sps) {
            int lt_idx_sps = (int)u(bits, ceil_log2((uint32_t)sps->num_long_term_ref_pics_sps));
            if (lt_idx_sps >= sps->num_long_term_ref_pics_sps) return DAMAGED;
            out->poc_lsb[i] = sps->lt_ref_pic_poc_lsb_sps[lt_idx_sps];
            out->UsedByCurrPicLt[i] = sps->used_by_curr_pic_lt_sps_flag[lt_idx_sps];
        } else {
            out->poc_lsb[i] = (int32_t)u(bits, sps->log2_max_pic_order_cnt_lsb);
            out->UsedByCurrPicLt[i] = (uint8_t)u(bits, 1);
        }
        out->delta_poc_msb_present_flag[i] = (uint8_t)u(bits, 1);
        if (i == 0 || i == num_long_term_sps) cycle = 0;
        if (out->delta_poc_msb_present_flag[i]) cycle += ue(bits, 1u << 24, &reason);
        if (cycle > 1u << 24) return DAMAGED;
        out->DeltaPocMsbCycleLt[i] = (int32_t)cycle;
    }
    return reason;
}
