"""From datasets to trained models: mixture, midtrain, SFT, BDPO, and the arms of a study."""
