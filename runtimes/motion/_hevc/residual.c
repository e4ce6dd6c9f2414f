/* 7.3.8.11: the residual's syntax. No coefficient is kept: values only steer the parsing. */
#include "hevc.h"

/* 6.5.3 to 6.5.5: scan position to y * 4 + x within 4x4; diagonal, horizontal, vertical */
static const uint8_t scan4[3][16] = {
    {0, 4, 1, 8, 5, 2, 12, 9, 6, 3, 13, 10, 7, 14, 11, 15},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15},
};
static const uint8_t position4[3][16] = { /* the inverse */
    {0, 2, 5, 9, 1, 4, 8, 12, 3, 7, 11, 14, 6, 10, 13, 15},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15},
};
/* Sub-blocks: y * 8 + x by position */
static const uint8_t scan2[3][4] = {{0, 8, 1, 9}, {0, 1, 8, 9}, {0, 8, 1, 9}};
static const uint8_t scan4_of_8[16] = {0, 8, 1, 16, 9, 2, 24, 17, 10, 3, 25, 18, 11, 26, 19, 27};
static const uint8_t scan8[64] = {
    0,  8,  1,  16, 9,  2,  24, 17, 10, 3,  32, 25, 18, 11, 4,  40, 33, 26, 19, 12, 5,  48,
    41, 34, 27, 20, 13, 6,  56, 49, 42, 35, 28, 21, 14, 7,  57, 50, 43, 36, 29, 22, 15, 58,
    51, 44, 37, 30, 23, 59, 52, 45, 38, 31, 60, 53, 46, 39, 61, 54, 47, 62, 55, 63,
};

/* 9.3.4.2.5: sigCtx within a sub-block, by y * 4 + x: of 4x4 blocks, and by prevCsbf of larger ones */
static const uint8_t ctxIdxMap[16] = {0, 1, 4, 5, 2, 3, 4, 5, 6, 6, 8, 8, 7, 7, 8, 8};
static const uint8_t sigCtxByCsbf[4][16] = {
    {2, 1, 1, 0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0},
    {2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0},
    {2, 1, 0, 0, 2, 1, 0, 0, 2, 1, 0, 0, 2, 1, 0, 0},
    {2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2},
};

static inline int last_prefix(Cabac *cabac, uint8_t *contexts, int log2TrafoSize, int cIdx) { /* 9.3.4.2.3 */
    int ctxOffset = cIdx ? 15 : 3 * (log2TrafoSize - 2) + ((log2TrafoSize - 1) >> 2);
    int ctxShift = cIdx ? log2TrafoSize - 2 : (log2TrafoSize + 1) >> 2;
    int cMax = (log2TrafoSize << 1) - 1, prefix = 0;
    while (prefix < cMax && decode_decision(cabac, contexts + ctxOffset + (prefix >> ctxShift))) prefix++;
    return prefix;
}

static inline int last_position(Cabac *cabac, int prefix) { /* 7.4.9.11 */
    if (prefix <= 3) return prefix;
    int bits = (prefix >> 1) - 1;
    return (1 << bits) * (2 + (prefix & 1)) + (int)(decode_bypass_bins(cabac, bits) & ((1u << bits) - 1));
}

/* 9.3.3.11: only as large as it matters; a prefix beyond 31 is no HEVC */
static inline uint32_t coeff_abs_level_remaining(Cabac *cabac, int cRiceParam) {
    int prefix = 0;
    while (prefix < 32 && decode_bypass(cabac)) prefix++;
    if (prefix <= 3) {
        uint32_t value = (uint32_t)prefix << cRiceParam;
        return cRiceParam ? value + decode_bypass_bins(cabac, cRiceParam) : value;
    }
    int bits = prefix - 3 + cRiceParam;
    for (int left = bits; left > 0; left -= 16) decode_bypass_bins(cabac, min(left, 16));
    return ((1u << (prefix - 3)) + 2) << cRiceParam;
}

/* Levels of one sub-block's significant coefficients; returns the state that the next sub-block starts from. */
static inline int sub_block_levels(Cabac *cabac, uint8_t *contexts, int count, int hidden, int ctxSet, int cIdx) {
    uint8_t *greater1 = contexts + COEFF_ABS_LEVEL_GREATER1_FLAG + (cIdx ? 16 : 0) + ctxSet * 4;
    int greater1Ctx = 1, flagged = min(count, 8), first = -1;
    uint32_t flags = 0;
    for (int i = 0; i < flagged; i++) {
        if (decode_decision(cabac, greater1 + greater1Ctx)) {
            flags |= 1u << i;
            greater1Ctx = 0;
            if (first < 0) first = i;
        } else if (greater1Ctx > 0 && greater1Ctx < 3) {
            greater1Ctx++;
        }
    }
    int greater2 = 0;
    if (first >= 0)
        greater2 = decode_decision(cabac, contexts + COEFF_ABS_LEVEL_GREATER2_FLAG + (cIdx ? 4 : 0) + ctxSet);
    if (count > hidden) decode_bypass_bins(cabac, count - hidden); /* coeff_sign_flag */
    if (count <= 8 && (!flags || (!(flags & (flags - 1)) && !greater2))) return greater1Ctx;
    int cRiceParam = 0;
    for (int i = 0; i < count; i++) {
        uint32_t baseLevel = 1 + (flags >> i & 1) + (i == first ? (uint32_t)greater2 : 0);
        if (baseLevel != (i < 8 ? (i == first ? 3u : 2u) : 1u)) continue;
        uint32_t level = baseLevel + coeff_abs_level_remaining(cabac, cRiceParam);
        if (level > 3u << cRiceParam) cRiceParam = min(cRiceParam + 1, 4);
    }
    return greater1Ctx;
}

void residual_coding(Decoder *d, int log2TrafoSize, int cIdx, int scanIdx) {
    Cabac local = d->cabac, *cabac = &local;
    uint8_t *contexts = d->contexts;
    if (d->active_pps.transform_skip_enabled_flag && !d->cu.bypass && log2TrafoSize == 2)
        decode_decision(cabac, contexts + TRANSFORM_SKIP_FLAG + (cIdx > 0));
    int x_prefix = last_prefix(cabac, contexts + LAST_SIG_COEFF_X_PREFIX, log2TrafoSize, cIdx);
    int y_prefix = last_prefix(cabac, contexts + LAST_SIG_COEFF_Y_PREFIX, log2TrafoSize, cIdx);
    int LastSignificantCoeffX = last_position(cabac, x_prefix);
    int LastSignificantCoeffY = last_position(cabac, y_prefix);
    if (scanIdx == 2) {
        int swapped = LastSignificantCoeffX;
        LastSignificantCoeffX = LastSignificantCoeffY;
        LastSignificantCoeffY = swapped;
    }
    const uint8_t *ScanOrder = scan4[scanIdx];
    const uint8_t *sub_blocks = log2TrafoSize == 5 ? scan8 : log2TrafoSize == 4 ? scan4_of_8 : scan2[scanIdx];
    int last_block = (LastSignificantCoeffY >> 2) * 8 + (LastSignificantCoeffX >> 2), lastSubBlock = 0;
    while (sub_blocks[lastSubBlock] != last_block) lastSubBlock++;
    int lastScanPos = position4[scanIdx][(LastSignificantCoeffY & 3) * 4 + (LastSignificantCoeffX & 3)];

    int sig_offset = cIdx ? 27 + (log2TrafoSize == 3 ? 9 : 12)
                          : (log2TrafoSize == 3 ? (scanIdx ? 15 : 9) : 21);
    uint8_t coded[9] = {0}; /* coded_sub_block_flag: a row of sub-blocks each */
    int greater1Ctx = 1, sign_data_hiding = d->active_pps.sign_data_hiding_enabled_flag && !d->cu.bypass;
    for (int i = lastSubBlock; i >= 0; i--) {
        int xS = sub_blocks[i] & 7, yS = sub_blocks[i] >> 3;
        int right = xS < 7 ? coded[yS] >> (xS + 1) & 1 : 0, below = coded[yS + 1] >> xS & 1;
        int inferSbDcSigCoeffFlag = 0;
        if (i < lastSubBlock && i > 0) {
            uint8_t *context = contexts + CODED_SUB_BLOCK_FLAG + (right | below) + (cIdx ? 2 : 0);
            if (!decode_decision(cabac, context)) continue;
            inferSbDcSigCoeffFlag = 1;
        }
        coded[yS] |= (uint8_t)(1 << xS);
        const uint8_t *sigCtx = ctxIdxMap;
        uint8_t *sig = contexts + SIG_COEFF_FLAG + (cIdx ? 27 : 0);
        if (log2TrafoSize > 2) {
            sigCtx = sigCtxByCsbf[right | below << 1];
            sig = contexts + SIG_COEFF_FLAG + sig_offset + (!cIdx && i ? 3 : 0);
        }
        int count = 0, n = 15, lastSigScanPos = 0, firstSigScanPos = 0;
        if (i == lastSubBlock) {
            count = 1;
            n = lastScanPos - 1;
            lastSigScanPos = firstSigScanPos = lastScanPos;
        }
        for (; n > 0; n--) {
            if (!decode_decision(cabac, sig + sigCtx[ScanOrder[n]])) continue;
            if (!count++) lastSigScanPos = n;
            firstSigScanPos = n;
        }
        if (n == 0) {
            uint8_t *dc = i ? sig + sigCtx[0] : contexts + SIG_COEFF_FLAG + (cIdx ? 27 : 0);
            if ((inferSbDcSigCoeffFlag && !count) || decode_decision(cabac, dc)) {
                count++;
                firstSigScanPos = 0;
            }
        }
        if (!count) continue;
        /* 9.3.4.2.6 */
        int ctxSet = (i == 0 || cIdx ? 0 : 2) + (i != lastSubBlock && greater1Ctx == 0);
        int signHidden = sign_data_hiding && lastSigScanPos - firstSigScanPos > 3;
        greater1Ctx = sub_block_levels(cabac, contexts, count, signHidden, ctxSet, cIdx);
    }
    d->cabac = local;
}
