/* E.2: video usability information and HRD parameters. Only their length matters, and field_seq_flag. */
#include "hevc.h"

#define UE(largest) ((int32_t)ue(bits, (uint32_t)(largest), &reason))
enum { ANY = 0xfffffffe };

/* E.2.3 */
static Reason sub_layer_hrd_parameters(Bits *bits, int CpbCnt, int sub_pic_hrd_params_present_flag) {
    Reason reason = OK;
    for (int i = 0; i < CpbCnt; i++) {
        for (int j = 0; j < (sub_pic_hrd_params_present_flag ? 4 : 2); j++) UE(ANY);
        u(bits, 1); /* cbr_flag */
    }
    return reason;
}

/* E.2.2, with commonInfPresentFlag */
static Reason hrd_parameters(Bits *bits, int maxNumSubLayersMinus1) {
    Reason reason = OK;
    int sub_pic_hrd_params_present_flag = 0;
    int nal_hrd = (int)u(bits, 1), vcl_hrd = (int)u(bits, 1);
    if (nal_hrd || vcl_hrd) {
        sub_pic_hrd_params_present_flag = (int)u(bits, 1);
        if (sub_pic_hrd_params_present_flag) skip_bits(bits, 8 + 5 + 1 + 5);
        skip_bits(bits, 4 + 4);
        if (sub_pic_hrd_params_present_flag) skip_bits(bits, 4);
        skip_bits(bits, 5 + 5 + 5);
    }
    for (int i = 0; i <= maxNumSubLayersMinus1 && !reason; i++) {
        int fixed_pic_rate_general_flag = (int)u(bits, 1);
        int fixed_pic_rate_within_cvs_flag = fixed_pic_rate_general_flag ? 1 : (int)u(bits, 1);
        int low_delay_hrd_flag = 0, CpbCnt = 1;
        if (fixed_pic_rate_within_cvs_flag)
            UE(2047); /* elemental_duration_in_tc_minus1 */
        else
            low_delay_hrd_flag = (int)u(bits, 1);
        if (!low_delay_hrd_flag) CpbCnt = 1 + UE(31);
        if (nal_hrd && !reason) reason = sub_layer_hrd_parameters(bits, CpbCnt, sub_pic_hrd_params_present_flag);
        if (vcl_hrd && !reason) reason = sub_layer_hrd_parameters(bits, CpbCnt, sub_pic_hrd_params_present_flag);
    }
    return reason;
}

/* E.2.1 */
Reason vui_parameters(Bits *bits, int maxSubLayersMinus1) {
    Reason reason = OK;
    if (u(bits, 1) && u(bits, 8) == 255) skip_bits(bits, 32); /* aspect_ratio_info, EXTENDED_SAR */
    if (u(bits, 1)) u(bits, 1);                               /* overscan_info */
    if (u(bits, 1)) {                                         /* video_signal_type */
        skip_bits(bits, 3 + 1);
        if (u(bits, 1)) skip_bits(bits, 24);
    }
    if (u(bits, 1)) { /* chroma_loc_info */
        UE(5);
        UE(5);
    }
    u(bits, 1); /* neutral_chroma_indication_flag */
    int field_seq_flag = (int)u(bits, 1);
    u(bits, 1); /* frame_field_info_present_flag */
    if (u(bits, 1)) {
        for (int i = 0; i < 4; i++) UE(MAX_SIDE); /* default_display_window */
    }
    if (u(bits, 1)) { /* vui_timing_info */
        skip_bits(bits, 64);
        if (u(bits, 1)) UE(ANY);
        if (u(bits, 1) && !reason) reason = hrd_parameters(bits, maxSubLayersMinus1);
    }
    if (u(bits, 1)) { /* bitstream_restriction */
        skip_bits(bits, 3);
        UE(4095);
        UE(16);
        UE(16);
        UE(16);
        UE(16);
    }
    return !reason && field_seq_flag ? FIELDS : reason;
}
