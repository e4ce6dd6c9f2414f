/* 8.4.2 and 8.4.3: intra prediction modes, which choose the scan of coefficients. */
#include "hevc.h"

enum { INTRA_PLANAR = 0, INTRA_DC = 1, INTRA_ANGULAR_26 = 26 };

void fill_intra_mode(Decoder *d, int x0, int y0, int size, int mode) {
    int count = size >> 2;
    for (int y = y0 >> 2; y < (y0 + size) >> 2; y++)
        __builtin_memset(d->intra_mode + y * d->across4 + (x0 >> 2), mode, (size_t)count);
}

/* 8.4.2: IntraPredModeY. A rem_intra_luma_pred_mode below 0 says that mpm_idx was coded. */
int intra_luma_mode(Decoder *d, int xPb, int yPb, int mpm_idx, int rem_intra_luma_pred_mode) {
    const uint8_t *at = d->intra_mode + (yPb >> 2) * d->across4 + (xPb >> 2);
    int A = available_z(d, xPb, yPb, xPb - 1, yPb) ? at[-1] : INTRA_DC, B = INTRA_DC;
    int above_tree_block = (yPb & ((1 << d->active_sps.CtbLog2SizeY) - 1)) == 0;
    if (!above_tree_block && available_z(d, xPb, yPb, xPb, yPb - 1)) B = at[-d->across4];
    int candModeList[3];
    if (A == B && A < 2) {
        candModeList[0] = INTRA_PLANAR;
        candModeList[1] = INTRA_DC;
        candModeList[2] = INTRA_ANGULAR_26;
    } else if (A == B) {
        candModeList[0] = A;
        candModeList[1] = 2 + ((A + 29) & 31);
        candModeList[2] = 2 + ((A - 2 + 1) & 31);
    } else {
        candModeList[0] = A;
        candModeList[1] = B;
        candModeList[2] = A != INTRA_PLANAR && B != INTRA_PLANAR ? INTRA_PLANAR
                          : A != INTRA_DC && B != INTRA_DC       ? INTRA_DC
                                                                 : INTRA_ANGULAR_26;
    }
    if (rem_intra_luma_pred_mode < 0) return candModeList[mpm_idx];
    for (int i = 0; i < 2; i++) { /* ascending */
        for (int j = i + 1; j < 3; j++) {
            if (candModeList[i] <= candModeList[j]) continue;
            int larger = candModeList[i];
            candModeList[i] = candModeList[j];
            candModeList[j] = larger;
        }
    }
    int mode = rem_intra_luma_pred_mode;
    for (int i = 0; i < 3; i++) mode += mode >= candModeList[i];
    return mode;
}
