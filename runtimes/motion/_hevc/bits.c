/* 7.3.1, annex B and 9.2: NAL units, and the bits in them. */
#include "hevc.h"

uint32_t u(Bits *bits, int count) {
    uint32_t value = 0;
    for (int i = 0; i < count; i++) {
        uint32_t byte = bits->position >> 3;
        value <<= 1;
        if (byte < bits->size)
            value |= bits->data[byte] >> (7 - (bits->position & 7)) & 1;
        else
            bits->truncated = 1;
        if (byte <= bits->size) bits->position++;
    }
    return value;
}

void skip_bits(Bits *bits, uint32_t count) {
    uint32_t left = bits->size * 8 - min((int)bits->position, (int)bits->size * 8);
    if (count > left) {
        bits->truncated = 1;
        count = left;
    }
    bits->position += count;
}

/* 9.2: Exp-Golomb, bounded: what is larger than the standard allows is a reason, and reads as the bound. */
uint32_t ue(Bits *bits, uint32_t largest, Reason *reason) {
    int zeros = 0;
    while (zeros < 32 && !bits->truncated && !u(bits, 1)) zeros++;
    if (bits->truncated) {
        if (*reason == OK) *reason = TRUNCATED;
        return 0;
    }
    uint64_t value = zeros ? ((uint64_t)1 << zeros) - 1 + u(bits, zeros) : 0;
    if (bits->truncated && *reason == OK) *reason = TRUNCATED;
    if (value > largest) {
        if (*reason == OK) *reason = DAMAGED;
        return largest;
    }
    return (uint32_t)value;
}

int32_t se(Bits *bits, int32_t smallest, int32_t largest, Reason *reason) {
    uint32_t code = ue(bits, 0xfffffffe, reason);
    int64_t value = code & 1 ? (int64_t)(code / 2) + 1 : -(int64_t)(code / 2);
    if (value < smallest || value > largest) {
        if (*reason == OK) *reason = DAMAGED;
        return value < smallest ? smallest : largest;
    }
    return (int32_t)value;
}

/* 7.2: more_rbsp_data: whether anything stands before the last 1, the stop bit. */
int more_bits(const Bits *bits) {
    uint32_t last = bits->size;
    while (last && !bits->data[last - 1]) last--;
    if (!last) return 0;
    uint32_t stop = last * 8 - 1;
    while (!(bits->data[stop >> 3] >> (7 - (stop & 7)) & 1)) stop--;
    return bits->position < stop;
}

/* 7.3.1.1: in place; returns the new size. */
uint32_t remove_emulation_prevention(uint8_t *data, uint32_t size) {
    uint32_t from = 0;
    while (from + 2 < size && (data[from] || data[from + 1] || data[from + 2] != 3)) {
        from += data[from + 2] > 3 ? 3 : 1;
    }
    if (from + 2 >= size) return size;
    uint32_t to = from, zeros = 0;
    for (; from < size; from++) {
        if (zeros >= 2 && data[from] == 3) {
            zeros = 0;
            continue;
        }
        zeros = data[from] ? 0 : zeros + 1;
        data[to++] = data[from];
    }
    return to;
}

/* ISO/IEC 14496-15: whether lengths of this many bytes divide the data exactly. */
int lengths_fit(const uint8_t *data, uint32_t size, int length_size) {
    uint32_t position = 0;
    while (position < size) {
        if (size - position < (uint32_t)length_size) return 0;
        uint32_t length = 0;
        for (int i = 0; i < length_size; i++) length = length << 8 | data[position++];
        if (length > size - position) return 0;
        position += length;
    }
    return 1;
}

/* The next NAL unit of the input: behind a start code (B.2), or behind its length. */
int next_nal_unit(Decoder *d, const uint8_t **start, uint32_t *size) {
    const uint8_t *at = d->input, *end = d->input_end;
    if (d->length_size) {
        if (end - at < d->length_size) {
            d->input = end;
            if (at < end) d->reasons |= 1 << TRUNCATED;
            return 0;
        }
        uint32_t length = 0;
        for (int i = 0; i < d->length_size; i++) length = length << 8 | *at++;
        if (length > (uint32_t)(end - at)) {
            d->reasons |= 1 << TRUNCATED;
            length = (uint32_t)(end - at);
        }
        *start = at;
        *size = length;
        d->input = at + length;
        return 1;
    }
    while (end - at >= 3 && (at[0] || at[1] || at[2] != 1)) at++;
    if (end - at < 3) {
        d->input = end;
        return 0;
    }
    at += 3;
    const uint8_t *next = at;
    while (end - next >= 3 && (next[0] || next[1] || next[2] > 1)) next++;
    if (end - next < 3) next = end;
    *start = at;
    *size = (uint32_t)(next - at);
    d->input = next;
    return 1;
}
