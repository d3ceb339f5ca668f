package dev.lanyard;

/**
 * A new TOTP secret, shown once. It counts after {@link Subject#confirmTotp}.
 *
 * @param secret the secret in Base32, for those who type it
 * @param otpauthUri the same for a QR code
 */
public record TotpEnrollment(String secret, String otpauthUri) {
    /** Shows nothing of the secret. */
    @Override
    public String toString() {
        return "TotpEnrollment[redacted]";
    }
}
